export { checkRun } from './check-run.js';
export { initialSources } from './initial-weights.js';
export { exchangeNames } from './remote-experts.js';
export { SourceLoss } from './source-loss.js';
export { taskOf } from './task-of.js';
export { isTrained, type StoredPart, type TaskParameter, taskParameter } from './task-parameter.js';
export type {
  BatchLoader,
  BatchVariant,
  ForwardPass,
  HeldOutSet,
  Microbatch,
  RankBatch,
  SharedBatch,
  TaskBatch,
  TaskData,
  TrainTask,
} from './train-task.js';
export { SHARED_ROWS } from './train-task.js';
