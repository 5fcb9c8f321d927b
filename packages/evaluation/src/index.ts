export { EvaluationFolder } from './evaluation-folder.js';
export { heldOutLoss, heldOutMicrobatchCount, type LossSum } from './held-out-loss.js';
export type { ScoreProgress } from './score-tasks.js';
export { checkTasks, TaskEvaluator } from './task-evaluator.js';
