import { readFile } from 'node:fs/promises';
import { WeftError } from '@weft/common';
import { type PowerLaw, prior, readFitFile } from '@weft/scaling';
import { pathFromHome } from '../home.js';

/**
 * A published law by its name, or the law of a fit file.
 *
 * @throws WeftError `not_found` when there is neither, `corrupt_data` for a file that is no fit.
 */
export async function loadLaw(nameOrFile: string, home: string): Promise<PowerLaw> {
  if (!/[/\\]|\.json$/.test(nameOrFile)) return prior(nameOrFile);
  return readFitFile(await readText(pathFromHome(nameOrFile, home), 'fit file'), nameOrFile);
}

/** @throws WeftError `not_found`, or `invalid_argument` for what cannot be read. */
export async function readText(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'for no known reason';
    if (code === 'ENOENT') throw new WeftError('not_found', `there is no ${what} ${path}`, { cause });
    throw new WeftError('invalid_argument', `the ${what} ${path} cannot be read (${code})`, { cause });
  }
}
