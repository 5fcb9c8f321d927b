import { parseArgs } from 'node:util';
import { WeftError } from '@weft/common';
import { PRECISIONS, type Precision } from '@weft/config';
import { LAYER_SIZES } from './layer-case.js';

const NAMES = LAYER_SIZES.map(({ name }) => name);

/** The layer beside PyTorch, and whole runs with their experts in different places. */
export const PARTS = ['layer', 'placement'] as const;

export const USAGE = `npm run bench:moe -- [options]

  --parts LIST         of ${PARTS.join(', ')} (default: all)
The layer beside PyTorch:
  --sizes LIST         of ${NAMES.join(', ')} (default: all)
  --precisions LIST    of ${PRECISIONS.join(', ')} (default: all)
  --threads LIST       threads of each process (default: 1,2)
  --warmup N           steps before the first round, after the very first one (default: 5)
Whole runs of moeTiny on the demo data, experts in the rank or in processes of their own:
  --expert-workers LIST  their numbers; 0: experts in the rank (default: 0,1,2,4)
Both:
  --rounds N           turns that every contestant takes (default: 5)
  --steps N            measured steps of a turn (default: 10)
  --out FILE           where to write the JSON (default: bench/results/moe.json)
  --help

WEFT_BENCH_PYTHON names the Python that has torch (default: python3).`;

export interface MoeBenchOptions {
  readonly parts: readonly (typeof PARTS)[number][];
  readonly expertWorkers: readonly number[];
  readonly sizes: readonly string[];
  readonly precisions: readonly Precision[];
  readonly threads: readonly number[];
  readonly rounds: number;
  readonly steps: number;
  readonly warmup: number;
  readonly out: string | undefined;
  readonly help: boolean;
}

/** @throws WeftError `invalid_argument` naming the option, the value and what it may be. */
export function parseMoeArguments(words: readonly string[]): MoeBenchOptions {
  const values = parsed(words);
  return {
    parts: choices('--parts', values.parts, PARTS),
    expertWorkers: values['expert-workers'].split(',').map((word) => wholeNumber('--expert-workers', word, 0)),
    sizes: choices('--sizes', values.sizes, NAMES),
    precisions: choices('--precisions', values.precisions, PRECISIONS),
    threads: values.threads.split(',').map((word) => wholeNumber('--threads', word, 1)),
    rounds: wholeNumber('--rounds', values.rounds, 1),
    steps: wholeNumber('--steps', values.steps, 1),
    warmup: wholeNumber('--warmup', values.warmup, 0),
    out: values.out,
    help: values.help,
  };
}

function parsed(words: readonly string[]) {
  try {
    return parseArgs({
      args: [...words],
      options: {
        parts: { type: 'string' },
        'expert-workers': { type: 'string', default: '0,1,2,4' },
        sizes: { type: 'string' },
        precisions: { type: 'string' },
        threads: { type: 'string', default: '1,2' },
        rounds: { type: 'string', default: '5' },
        steps: { type: 'string', default: '10' },
        warmup: { type: 'string', default: '5' },
        out: { type: 'string' },
        help: { type: 'boolean', default: false },
      },
    }).values;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new WeftError('invalid_argument', message, { cause, cure: 'run `npm run bench:moe -- --help`' });
  }
}

/** All of them when the option is absent. */
function choices<T extends string>(option: string, text: string | undefined, known: readonly T[]): readonly T[] {
  if (text === undefined) return known;
  return text.split(',').map((word) => {
    const found = known.find((each) => each === word.trim());
    if (found !== undefined) return found;
    throw new WeftError('invalid_argument', `${option} has "${word}", which is none of ${known.join(', ')}`);
  });
}

function wholeNumber(option: string, text: string, least: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text.trim()) && value >= least) return value;
  throw new WeftError('invalid_argument', `${option} is "${text}", not a whole number from ${least}`);
}
