import { writeFile } from 'node:fs/promises';
import { WeftError } from '@weft/common';

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'its folder is a file',
  EISDIR: 'it is a folder',
  EACCES: 'this user may not write there',
  EROFS: 'its disk is read-only',
  ENOSPC: 'its disk is full',
};

/** Writes what a person asked for. @throws WeftError `failed_precondition` saying why the file cannot be written. */
export async function writeOutput(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : String(cause);
    throw new WeftError('failed_precondition', `${path} cannot be written, because ${REASONS[code] ?? `of ${code}`}`, {
      cure: 'name another file',
      cause,
    });
  }
}
