import { stat } from 'node:fs/promises';
import { WeftError } from '@weft/common';
import { isMissing, shortPath } from '@weft/files';

/** Before anything is done for an output. @throws WeftError `already_exists` when a file or folder has its name */
export async function refuseExisting(path: string): Promise<void> {
  const found = await stat(path).catch((thrown: unknown) => {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  });
  if (found === undefined) return;
  throw new WeftError('already_exists', `${shortPath(path)} exists, and is not overwritten`, {
    hint: 'remove it, or name another with --output',
  });
}
