import { WeftError } from '@weft/common';
import { type BlobStore, readText } from './blob-store.js';
import { diskStore } from './disk-store.js';

/** Replaces a blob by the JSON of a value, indented for people; whole or not at all. Throws as `BlobStore.write`. */
export async function writeJsonFile(path: string, value: unknown, store: BlobStore = diskStore): Promise<void> {
  await store.write(path, `${JSON.stringify(value, null, 2)}\n`);
}

/** Far more than any file that Weft reads whole. */
const MOST_BYTES = 64 * 1024 * 1024;

/**
 * Reads a JSON blob.
 *
 * @throws WeftError `not_found`, `invalid_argument` for a folder, `failed_precondition` or `corrupt_data`, also for one of more
 *   than 64 MiB, each naming the file.
 */
export async function readJsonFile(path: string, store: BlobStore = diskStore): Promise<unknown> {
  const text = await readText(store, path, MOST_BYTES).catch((cause: unknown) => {
    throw WeftError.is(cause, 'not_found') ? new WeftError('not_found', `there is no file ${path}`, { cause }) : cause;
  });
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('corrupt_data', `the file ${path} is not whole JSON: ${WeftError.from(cause).message}`, {
      cause,
    });
  }
}
