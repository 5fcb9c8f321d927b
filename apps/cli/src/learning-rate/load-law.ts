import { readFile, stat } from 'node:fs/promises';
import { bytes, WeftError } from '@weft/common';
import { Home } from '@weft/files';
import { type PowerLaw, prior, readFitFile } from '@weft/scaling';

/**
 * A published law by its name, or the law of a fit file.
 *
 * @throws WeftError `not_found` when there is neither, `corrupt_data` for a file that is no fit.
 */
export async function loadLaw(nameOrFile: string, home: string): Promise<PowerLaw> {
  if (!/[/\\]|\.json$/.test(nameOrFile)) return prior(nameOrFile);
  return readFitFile(await readText(new Home(home).resolvePath(nameOrFile), 'fit file'), nameOrFile);
}

/** A fit of the largest sweep has a few megabytes. */
const MOST_BYTES = 64 * 2 ** 20;

/** @throws WeftError `not_found`, or `invalid_argument` for what cannot be read. */
export async function readText(path: string, what: string): Promise<string> {
  try {
    const file = await stat(path);
    if (file.isFile() && file.size > MOST_BYTES)
      throw new WeftError('invalid_argument', `the ${what} ${path} is larger than any: it has ${bytes(file.size)}`);
    return await readFile(path, 'utf8');
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'for no known reason';
    if (cause instanceof WeftError) throw cause;
    if (code === 'EISDIR') throw new WeftError('invalid_argument', `the ${what} ${path} is a folder`, { cause });
    if (code === 'ENOENT') throw new WeftError('not_found', `there is no ${what} ${path}`, { cause });
    throw new WeftError('invalid_argument', `the ${what} ${path} cannot be read (${code})`, { cause });
  }
}
