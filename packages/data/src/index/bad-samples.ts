import { basename } from 'node:path';
import { percent, plural, type SourceId, WeftError } from '@weft/common';
import type { DatasetSettings } from '@weft/config';
import type { BadSample } from '../formats/document.js';

/** So many may be bad whatever their share is: in a small dataset one is a large share. */
const ALWAYS_ALLOWED = 10;

/** Counts the bad samples of a dataset that leaves them out, which it may do up to a bound. */
export class BadSamples {
  readonly #name: SourceId;
  readonly #settings: DatasetSettings;
  #good = 0;
  #bad = 0;
  #run = 0;
  #last: WeftError | undefined;

  constructor(name: SourceId, settings: DatasetSettings) {
    this.#name = name;
    this.#settings = settings;
  }

  countGood(count: number): void {
    this.#good += count;
    this.#run = 0;
  }

  /**
   * Counts a bad sample that may be left out.
   *
   * @param path of its shard
   * @returns why it is left out, without names so that equal reasons are counted together; and all that is known
   * @throws WeftError `corrupt_data` when too many come in a row
   */
  leaveOut({ key, problem }: BadSample, path: string): readonly [reason: string, detail: string] {
    const { longestBadRun } = this.#settings;
    this.#bad++;
    this.#run++;
    this.#last = problem;
    if (this.#run > longestBadRun)
      throw this.#tooMany(`${plural(this.#run, 'sample')} of ${this.#name} in a row`, 'longestBadRun', longestBadRun);
    return [shortReason(problem.message, key, path), problem.message];
  }

  /** @throws WeftError `corrupt_data` when too large a part of the dataset is bad */
  checkShare(): void {
    const { largestBadShare } = this.#settings;
    const all = this.#good + this.#bad;
    if (this.#bad > Math.max(ALWAYS_ALLOWED, largestBadShare * all))
      throw this.#tooMany(
        `${this.#bad} of ${plural(all, 'sample')} of ${this.#name} (${percent(this.#bad / all)})`,
        'largestBadShare',
        largestBadShare,
      );
  }

  #tooMany(what: string, field: 'longestBadRun' | 'largestBadShare', bound: number): WeftError {
    const message = `${what} cannot be read, more than data.datasets.${this.#name}.${field} allows (${bound}); the last: ${this.#last?.message}`;
    return new WeftError('corrupt_data', message, {
      ...(this.#last?.hint === undefined ? {} : { hint: this.#last.hint }),
      cause: this.#last,
    });
  }
}

/** The problem of a sample of a dataset that leaves none out, with the way out that a person may not know. */
export function refusedSample(problem: WeftError, name: SourceId): WeftError {
  const skip = `set data.datasets.${name}.badSamples=skip to leave such samples out`;
  const hint = problem.hint === undefined ? skip : `${problem.hint.replaceAll('<dataset>', name)}; or ${skip}`;
  return new WeftError(problem.code, problem.message, { hint, cause: problem });
}

/** `the sample c005 in /data/s.tar has no caption (its members: jpg)` is `it has no caption`. */
function shortReason(message: string, key: string, path: string): string {
  const plain = message
    .replace(`the sample ${key} in ${path} `, 'it ')
    .replace(`${key} of ${path} `, 'it ')
    .replaceAll(` in ${path}`, '')
    .replaceAll(path, basename(path))
    .replace(/^the image \S+ /, 'its image ')
    .replace(/the image "[^"]*"/, 'an image');
  return plain.replace(/( \(its members|: |; |, which is neither).*$/s, '');
}
