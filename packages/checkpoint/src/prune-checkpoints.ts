import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { BlobStore } from '@weft/files';
import { diskStore } from '@weft/files';
import { checkpointsFolder, completeCheckpoints, stepDirectories } from './directories.js';
import { MANIFEST_NAME } from './manifest.js';
import { newestCheckpoint } from './newest-checkpoint.js';

/**
 * Removes old checkpoints: all but the newest `keepLast`, and never the newest that verifies. Folders without a
 * manifest go too when a newer checkpoint verifies; one of a later step may still be in the making.
 *
 * @returns the folders removed.
 * @throws `invalid_argument` when `keepLast` is not a positive integer.
 */
export async function pruneCheckpoints(
  runDirectory: string,
  keepLast: number,
  store: BlobStore = diskStore,
): Promise<string[]> {
  if (!Number.isSafeInteger(keepLast) || keepLast < 1)
    throw new WeftError('invalid_argument', `keepLast must be a positive integer, not ${keepLast}`);
  const folder = checkpointsFolder(runDirectory);
  const complete = await completeCheckpoints(folder, store);
  const completeSteps = new Set(complete.map(({ step }) => step));
  const incomplete = (await stepDirectories(folder, store)).filter(({ step }) => !completeSteps.has(step));
  if (complete.length <= keepLast && incomplete.length === 0) return [];
  const { checkpoint } = await newestCheckpoint(runDirectory, store);
  if (checkpoint === undefined) return [];
  const superfluous = [
    ...complete.slice(keepLast).filter(({ directory }) => directory !== checkpoint.directory),
    ...incomplete.filter(({ step }) => step < checkpoint.manifest.step),
  ].sort((a, b) => a.step - b.step);
  for (const { directory } of superfluous) {
    // First the manifest: what is half removed must not look like a checkpoint.
    await store.remove(join(directory, MANIFEST_NAME));
    await store.remove(directory);
  }
  return superfluous.map(({ directory }) => directory);
}
