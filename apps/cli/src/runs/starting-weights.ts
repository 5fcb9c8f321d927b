import { resolve } from 'node:path';
import { WeftError } from '@weft/common';

/**
 * The checkpoint that `--init-from` names: the directory itself, or the newest good one of a run's directory.
 * @returns an absolute path
 * @throws WeftError `not_found` when there is none.
 */
export async function startingWeights(path: string): Promise<string> {
  const { newestCheckpoint, readManifest } = await import('@weft/checkpoint');
  const directory = resolve(path);
  try {
    await readManifest(directory);
    return directory;
  } catch (thrown) {
    if (!WeftError.is(thrown, 'not_found')) throw thrown;
    const { checkpoint } = await newestCheckpoint(directory);
    if (checkpoint !== undefined) return checkpoint.directory;
    throw new WeftError('not_found', `--init-from: ${directory} is neither a checkpoint nor a run that has one`, {
      cause: thrown,
      cure: 'name the folder of a run, or one of its checkpoints/step-… folders',
    });
  }
}
