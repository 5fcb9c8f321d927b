import type { RunConfig } from '@weft/config';
import { languageModel } from './language-model.js';
import type { TrainTask } from './train-task.js';

export { exchangeNames } from './remote-experts.js';
export { type StoredPart, type TaskParameter, taskParameter } from './task-parameter.js';
export type {
  BatchLoader,
  ForwardPass,
  HeldOutSet,
  Microbatch,
  Objective,
  RankBatch,
  RemoteExpertLayers,
  TaskBatch,
  TaskData,
  TaskStats,
  TrainTask,
} from './train-task.js';

/** The task that a run trains: the registry of tasks. So far every configuration describes a language model. */
export function taskOf(config: RunConfig): TrainTask {
  return languageModel(config);
}
