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
  RankBatch,
  TaskBatch,
  TaskData,
  TrainTask,
} from './train-task.js';

/**
 * The task that a run trains. Every configuration describes a language model so far; the next task is chosen here, by
 * what the configuration says.
 */
export function taskOf(config: RunConfig): TrainTask {
  return languageModel(config);
}
