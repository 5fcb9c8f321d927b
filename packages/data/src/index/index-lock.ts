import { basename, dirname, join } from 'node:path';
import { WeftError } from '@weft/common';
import { ProcessLock } from '@weft/files';
import { readManifest } from './manifest.js';

/** The identity of the index in a folder; undefined where there is none that can be read. */
export async function identityIn(folder: string): Promise<string | undefined> {
  return await readManifest(folder).then(
    ({ identity }) => identity,
    () => undefined,
  );
}

/**
 * Holds an index while it is written.
 *
 * @param before its identity when it was decided what to write; undefined where there was none
 * @throws WeftError `failed_precondition` while another process writes it, and where one has since then
 */
export async function withIndexLock<T>(
  folder: string,
  before: string | undefined,
  write: () => Promise<T>,
): Promise<T> {
  const lock = await ProcessLock.acquire(join(dirname(folder), `.${basename(folder)}.lock`), `the index ${folder}`);
  try {
    if ((await identityIn(folder)) !== before)
      throw new WeftError('failed_precondition', `another weft data index has changed the index ${folder} meanwhile`, {
        hint: 'run it again',
      });
    return await write();
  } finally {
    await lock.release();
  }
}
