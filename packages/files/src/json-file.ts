import { readFile } from 'node:fs/promises';
import { systemErrorCode, WeftError } from '@weft/common';
import { writeFileAtomically } from './atomic-file.js';

/** Replaces a file by the JSON of a value, indented for people; whole or not at all. */
export async function writeJsonFile(path: string, value: unknown): Promise<void> {
  await writeFileAtomically(path, `${JSON.stringify(value, null, 2)}\n`);
}

/**
 * Reads a JSON file.
 *
 * @throws WeftError `not_found`, `unavailable` or `corrupt_data` that names the file.
 */
export async function readJsonFile(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    const isMissing = systemErrorCode(cause) === 'ENOENT';
    const message = isMissing ? `there is no file ${path}` : `the file ${path} cannot be read`;
    throw new WeftError(isMissing ? 'not_found' : 'unavailable', message, { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('corrupt_data', `the file ${path} is not whole JSON: ${WeftError.from(cause).message}`, {
      cause,
    });
  }
}

/** A JSON object whose fields are not checked yet. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** Whether a parsed JSON value is an object: not null, not a list. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
