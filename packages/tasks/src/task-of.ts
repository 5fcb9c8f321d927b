import type { RunConfig } from '@weft/config';
import { contrastive } from './contrastive.js';
import { languageModel } from './language-model.js';
import { reconstructive } from './reconstructive.js';
import type { TrainTask } from './train-task.js';

/** The task that a run trains, by `task.kind`. */
export function taskOf(config: RunConfig): TrainTask {
  const { task } = config;
  switch (task.kind) {
    case 'languageModel':
      return languageModel(config);
    case 'contrastive':
      return contrastive(config, task);
    case 'reconstructive':
      return reconstructive(config, task);
  }
}
