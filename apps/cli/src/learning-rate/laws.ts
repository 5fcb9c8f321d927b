import { readFile, stat, writeFile } from 'node:fs/promises';
import { bytes, systemErrorCode, WeftError } from '@weft/common';
import type { AutomaticRate } from '@weft/config';
import { Home, isMissing } from '@weft/files';
import { formula, type PowerLaw, parameterCounts, predict, publishedLaw, readFitFile } from '@weft/scaling';

/**
 * A published law by its name, or the law of a fit file.
 *
 * @throws WeftError `not_found` when there is neither, `corrupt_data` for a file that is no fit.
 */
export async function loadLaw(nameOrFile: string, home: string): Promise<PowerLaw> {
  if (!/[/\\]|\.json$/.test(nameOrFile)) return publishedLaw(nameOrFile);
  return readFitFile(await readText(new Home(home).resolvePath(nameOrFile), 'fit file'), nameOrFile);
}

/** Far more than the fit of the largest sweep. */
const MAX_BYTES = 64 * 2 ** 20;

/** Reads a text file that a person named. @throws WeftError `not_found`, or `invalid_argument` for what cannot be read. */
export async function readText(path: string, what: string): Promise<string> {
  try {
    const file = await stat(path);
    if (file.isFile() && file.size > MAX_BYTES)
      throw new WeftError('invalid_argument', `the ${what} ${path} is too large to be one: ${bytes(file.size)}`);
    return await readFile(path, 'utf8');
  } catch (cause) {
    if (cause instanceof WeftError) throw cause;
    if (isMissing(cause)) throw new WeftError('not_found', `there is no ${what} ${path}`, { cause });
    const code = systemErrorCode(cause) ?? 'unknown reason';
    if (code === 'EISDIR') throw new WeftError('invalid_argument', `the ${what} ${path} is a folder`, { cause });
    throw new WeftError('invalid_argument', `the ${what} ${path} cannot be read (${code})`, { cause });
  }
}

/** More digits of a predicted rate mean nothing. */
const SIGNIFICANT_DIGITS = 4;

/**
 * Loads the law of `optimizer.learningRate: auto:<law>`; the result applies it to a configuration.
 *
 * @throws WeftError as `loadLaw`; `invalid_argument` for a law of something else.
 */
export async function automaticRate(nameOrFile: string, home: string): Promise<AutomaticRate> {
  const law = await loadLaw(nameOrFile, home);
  if (law.target !== 'learningRate')
    throw new WeftError('invalid_argument', `${nameOrFile} is a law of the batch size, not of the learning rate`, {
      hint: 'write auto, auto:step-law, or auto: and a file of weft lr fit',
    });
  return ({ model, steps, globalBatchSize }) => {
    const params = parameterCounts(model).backbone;
    const tokens = steps * globalBatchSize * model.sequenceLength;
    const { value, interval, level, outside } = predict(law, { params, tokens });
    return {
      value: rounded(value),
      fit: nameOrFile,
      formula: formula(law),
      source: law.source,
      params,
      tokens,
      interval: interval === null ? null : { low: rounded(interval.low), high: rounded(interval.high), level },
      extrapolation: rounded(Math.max(1, ...outside.map(({ factor }) => factor))),
    };
  };
}

const rounded = (value: number) => Number(value.toPrecision(SIGNIFICANT_DIGITS));

const WRITE_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'its folder does not exist',
  ENOTDIR: 'its folder is a file',
  EISDIR: 'it is a folder',
  EACCES: 'this user may not write there',
  EROFS: 'its disk is read-only',
  ENOSPC: 'its disk is full',
};

/** Writes a file that a person named. @throws WeftError `failed_precondition` with the reason when it cannot. */
export async function writeOutput(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (cause) {
    const code = systemErrorCode(cause) ?? String(cause);
    throw new WeftError(
      'failed_precondition',
      `${path} cannot be written, because ${WRITE_ERRORS[code] ?? `of ${code}`}`,
      {
        hint: 'name another file',
        cause,
      },
    );
  }
}
