import type { RunConfig } from '@weft/config';
import { scheduleOf, stretchOfStep } from '@weft/mixture';
import type { Dataset } from './dataset.js';
import { findIndexFolder } from './index-folder.js';
import { type DatasetConfig, readManifest } from './manifest.js';

/**
 * The identity of what a run was trained on up to a step: of the version of the index that the step took, so that a checkpoint
 * stays good when the index grows.
 */
export function identityAt(
  dataset: Pick<Dataset, 'identityOf' | 'versions'>,
  config: Pick<RunConfig, 'data' | 'globalBatchSize'>,
  step: number,
): string {
  const { globalBatchSize, data } = config;
  const { indexVersion } = stretchOfStep(scheduleOf(config), globalBatchSize, Math.max(step, 1), data.skippedBatches);
  return dataset.identityOf(indexVersion ?? dataset.versions.length);
}

/** The number of the newest version of the index for these parameters. Looks at no shard. @throws WeftError as `readManifest` */
export async function newestIndexVersion(config: DatasetConfig): Promise<number> {
  return (await readManifest(await findIndexFolder(config, { use: 'read' }))).manifest.formerIdentities.length + 1;
}
