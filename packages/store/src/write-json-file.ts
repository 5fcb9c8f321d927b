import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { WeftError } from '@weft/common';

/**
 * Replaces a file by the JSON of a value, indented for people. A reader, and a machine that loses power, sees the old
 * file or the new one, whole.
 */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  const temporary = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`;
  const file = await open(temporary, 'wx');
  try {
    await file.writeFile(`${JSON.stringify(value, null, 2)}\n`);
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (error) {
    await file.close().catch(() => {});
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

/**
 * Reads a JSON file.
 *
 * @throws WeftError `not_found` or `corrupt_data` that names the file.
 */
export async function readJsonFile(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    const missing = cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
    const message = missing ? `there is no file ${path}` : `the file ${path} cannot be read`;
    throw new WeftError(missing ? 'not_found' : 'unavailable', message, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('corrupt_data', `the file ${path} is not whole JSON: ${WeftError.from(cause).message}`, {
      cause,
    });
  }
}

/** Makes the names in a folder durable: a new or renamed file survives a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
