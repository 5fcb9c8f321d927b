export { taskOf } from './registry.js';
export { exchangeNames } from './remote-experts.js';
export { type StoredPart, type TaskParameter, taskParameter } from './task-parameter.js';
export type {
  BatchLoader,
  ForwardPass,
  HeldOutSet,
  Microbatch,
  RankBatch,
  TaskBatch,
  TaskData,
  TrainTask,
} from './train-task.js';
