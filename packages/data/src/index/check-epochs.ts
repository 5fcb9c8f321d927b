import { decimal, ofSource, WeftError } from '@weft/common';
import { datasetSettings, type RunConfig } from '@weft/config';
import { consumedBy, scheduleOf } from '@weft/mixture';
import type { Dataset } from './dataset.js';

/**
 * Checks that a run reads no dataset more often than its `epochs` allow.
 *
 * @throws WeftError `failed_precondition` naming the dataset and how often the run reads it
 */
export function checkEpochs(
  { sequences }: Pick<Dataset, 'sequences'>,
  { data, steps, globalBatchSize, evaluation }: Pick<RunConfig, 'data' | 'steps' | 'globalBatchSize' | 'evaluation'>,
): void {
  const taken = consumedBy(scheduleOf({ data, globalBatchSize }), globalBatchSize, steps, data.skippedBatches);
  for (const [name, count] of Object.entries(taken)) {
    const { epochs } = datasetSettings(data, name);
    const trained = ofSource(sequences, name) - evaluation.sequencesPerSource;
    if (epochs === null || count <= epochs * trained) continue;
    throw new WeftError(
      'failed_precondition',
      `the run takes ${count} sequences of ${name}, ${decimal(count / trained)} times its ${trained}, more than data.datasets.${name}.epochs allows (${epochs})`,
      { hint: `set fewer steps, give ${name} a smaller weight, or raise data.datasets.${name}.epochs` },
    );
  }
}
