import { WEFT_VERSION, WeftError } from '@weft/common';
import { type Interval, type LawStatistics, type PowerLaw, TARGETS, VARIABLES } from '../laws/power-law.js';
import type { FitReport } from './fit-report.js';

const FORMAT_VERSION = 1;

/** The origin of the points of a fit; a sweep adds details of its runs. */
export interface Provenance {
  /** ISO 8601. */
  readonly createdAt: string;
  /** What the runs were compared by, such as "lowest loss". */
  readonly metric: string;
  readonly [detail: string]: unknown;
}

/** The text of a fit file, indented JSON. */
export function writeFitFile(report: FitReport, provenance: Provenance): string {
  const content = { formatVersion: FORMAT_VERSION, kind: 'weft-fit', weftVersion: WEFT_VERSION, ...report, provenance };
  return `${JSON.stringify(content, null, 2)}\n`;
}

/**
 * The law of a fit file.
 *
 * @param name of the file, for error messages
 * @throws WeftError `corrupt_data` naming the wrong field, `version_mismatch` for a newer format
 */
export function readFitFile(text: string, name: string): PowerLaw {
  const file = new Reader(name, parse(text, name));
  if (file.field('kind').value !== 'weft-fit') file.refuse('is not a fit file: its kind is not weft-fit');
  const version = file.field('formatVersion').number();
  if (version > FORMAT_VERSION)
    throw new WeftError('version_mismatch', `${name} has format ${version}, this weft reads up to ${FORMAT_VERSION}`);
  const law = file.field('law');
  const variables = law
    .field('variables')
    .list()
    .map((each) => each.oneOf(VARIABLES));
  const size = variables.length;
  return {
    name: law.field('name').text(),
    target: law.field('target').oneOf(TARGETS),
    variables,
    intercept: law.field('intercept').number(),
    exponents: law
      .field('exponents')
      .list(size)
      .map((each) => each.number()),
    ranges: law.field('ranges').list(size).map(readRange),
    statistics: law.field('statistics').value === null ? null : readStatistics(law.field('statistics'), size + 1),
    source: law.field('source').text(),
  };
}

function readRange(range: Reader): Interval | null {
  return range.value === null ? null : { low: range.field('low').number(), high: range.field('high').number() };
}

function readStatistics(statistics: Reader, size: number): LawStatistics {
  const rSquared = statistics.field('rSquared');
  return {
    points: statistics.field('points').number(),
    degreesOfFreedom: statistics.field('degreesOfFreedom').number(),
    residualVariance: statistics.field('residualVariance').number(),
    inverse: statistics
      .field('inverse')
      .list(size)
      .map((row) => row.list(size).map((each) => each.number())),
    rSquared: rSquared.value === null ? null : rSquared.number(),
  };
}

function parse(text: string, name: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('corrupt_data', `${name} is not JSON`, { hint: 'name a file written by weft lr fit', cause });
  }
}

/** A value of a JSON file with its path, for error messages. */
class Reader {
  readonly #where: string;
  readonly value: unknown;

  constructor(where: string, value: unknown) {
    this.#where = where;
    this.value = value;
  }

  field(name: string): Reader {
    const { value } = this;
    const inner: unknown =
      typeof value === 'object' && value !== null
        ? Object.entries(value).find(([key]) => key === name)?.[1]
        : undefined;
    return new Reader(`${this.#where}: ${name}`, inner);
  }

  number(): number {
    return typeof this.value === 'number' && Number.isFinite(this.value) ? this.value : this.refuse('is not a number');
  }

  text(): string {
    return typeof this.value === 'string' ? this.value : this.refuse('is not a text');
  }

  oneOf<Choice extends string>(choices: readonly Choice[]): Choice {
    return choices.find((each) => each === this.value) ?? this.refuse(`is not one of ${choices.join(', ')}`);
  }

  list(length?: number): Reader[] {
    if (!Array.isArray(this.value)) return this.refuse('is not a list');
    if (length !== undefined && this.value.length !== length) return this.refuse(`must have ${length} entries`);
    return this.value.map((each, i) => new Reader(`${this.#where}[${i}]`, each));
  }

  refuse(what: string): never {
    throw new WeftError('corrupt_data', `${this.#where} ${what}`, { hint: 'name a file written by weft lr fit' });
  }
}
