import { type ParseArgsConfig, parseArgs } from 'node:util';
import { didYouMean, WeftError } from '@weft/common';
import { PRECISIONS, type Precision } from '@weft/config';
import { MODEL_NAMES, USUAL_MODELS } from './models.js';
import { LAYER_SIZES } from './moe/layer.js';
import type { ObservabilityBenchOptions } from './observability.js';
import { PEERS, type Peer, type PlanOptions } from './plan.js';

/** The models of recipes, and one whose weights no cache of a processor holds. */
const GENERATION_MODELS = ['decoder-34m', 'mm1-tiny', 'moe-tiny'] as const;
const GENERATION_BACKENDS = ['tensorflow', 'pjrt', 'javascript'] as const;

export const STEP_USAGE = `npm run bench -- [options]          how fast a training step is
npm run bench -- moe [options]      the MoE layer and expert workers: npm run bench -- moe --help
npm run bench -- all-reduce         the ring all-reduce alone: npm run bench -- all-reduce --help
npm run bench -- generation         tokens per second of weft generate: npm run bench -- generation --help
npm run bench -- plan               memory and time as planned, beside the measured: npm run bench -- plan --help
npm run bench -- observability      what metrics, page and watchers cost a step: npm run bench -- observability --help

  --models LIST        of ${MODEL_NAMES.join(', ')}
                       (default: ${USUAL_MODELS.join(', ')})
  --precisions LIST    of ${PRECISIONS.join(', ')} (default: those that the processor does not emulate)
  --threads LIST       threads of each process (default: 1,2)
  --processes LIST     data-parallel processes (default: 1,2)
  --rounds N           rounds that every candidate runs (default: 5; with --quick 3)
  --steps N            measured steps of a round (default: 3; with --quick 2)
  --warmup N           steps before the first round, after the very first one (default: 2; with --quick 1)
  --quick              the whole table in about half the time, with less certain medians
  --peers              run PyTorch and JAX in the same rounds, and print the ratios
  --with LIST          the peers: of ${PEERS.join(', ')} (default: all that Python has); means --peers
  --before FOLDER      run another checkout of Weft, built, in the same rounds, and print the ratio
  --fixed-forms        run Weft with every product in its usual form in the same rounds, and print the ratio
  --chip-tflops N      the chip's peak in TFLOP/s, by its maker: adds the column MFU
  --all-reduce         measure the ring all-reduce as well; against gloo with --peers
  --profile            time every op of our step instead, and print the types of ops
  --resume             keep the cases that the file of --out has, and measure the missing ones
  --json               print JSON instead of the table
  --out FILE           where to write the JSON (default: bench/results/latest.json)
  --help

WEFT_BENCH_PYTHON names the Python that has torch, WEFT_BENCH_JAX_PYTHON the one that has jax (default: python3).`;

export interface StepBenchOptions extends PlanOptions {
  readonly rounds: number;
  readonly steps: number;
  readonly warmup: number;
  /** The peers asked for; whether Python has them is found out later. */
  readonly peers: readonly Peer[];
  /** The folder of another checkout to compare with. */
  readonly before: string | undefined;
  /** Whether ours with every product in its usual form takes part. */
  readonly fixedForms: boolean;
  /** TFLOP/s. */
  readonly chipTflops: number | undefined;
  readonly allReduce: boolean;
  readonly profile: boolean;
  /** Keep what an interrupted run measured. */
  readonly resume: boolean;
  readonly json: boolean;
  readonly out: string | undefined;
  readonly help: boolean;
}

const THOROUGH = { rounds: '5', steps: '3', warmup: '2' } as const;
const QUICK = { rounds: '3', steps: '2', warmup: '1' } as const;

const STEP_OPTIONS = {
  models: { type: 'string' },
  precisions: { type: 'string' },
  threads: { type: 'string', default: '1,2' },
  processes: { type: 'string', default: '1,2' },
  rounds: { type: 'string' },
  steps: { type: 'string' },
  warmup: { type: 'string' },
  quick: { type: 'boolean', default: false },
  peers: { type: 'boolean', default: false },
  with: { type: 'string' },
  before: { type: 'string' },
  'fixed-forms': { type: 'boolean', default: false },
  'chip-tflops': { type: 'string' },
  'all-reduce': { type: 'boolean', default: false },
  profile: { type: 'boolean', default: false },
  resume: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
  out: { type: 'string' },
  help: { type: 'boolean', default: false },
} as const;

/**
 * @param native the precisions that are measured when none is named
 * @throws WeftError `invalid_argument` naming the option, the value and what it may be.
 */
export function parseStepArguments(
  words: readonly string[],
  native: readonly Precision[] = PRECISIONS,
): StepBenchOptions {
  const values = parse(words, STEP_OPTIONS);
  const defaults = values.quick ? QUICK : THOROUGH;
  return {
    models: choices('--models', values.models ?? USUAL_MODELS.join(), MODEL_NAMES),
    precisions: values.precisions === undefined ? native : choices('--precisions', values.precisions, PRECISIONS),
    threads: list(values.threads).map((word) => wholeNumber('--threads', word, 1)),
    processes: list(values.processes).map((word) => wholeNumber('--processes', word, 1)),
    rounds: wholeNumber('--rounds', values.rounds ?? defaults.rounds, 1),
    steps: wholeNumber('--steps', values.steps ?? defaults.steps, 1),
    warmup: wholeNumber('--warmup', values.warmup ?? defaults.warmup, 0),
    before: values.before,
    fixedForms: values['fixed-forms'],
    peers: values.peers || values.with !== undefined ? choices('--with', values.with, PEERS) : [],
    chipTflops: values['chip-tflops'] === undefined ? undefined : positive('--chip-tflops', values['chip-tflops']),
    allReduce: values['all-reduce'],
    profile: values.profile,
    resume: values.resume,
    json: values.json,
    out: values.out,
    help: values.help,
  };
}

const SIZE_NAMES = LAYER_SIZES.map(({ name }) => name);

/** The layer beside PyTorch, and whole runs with their experts in the rank or in other processes. */
const MOE_PARTS = ['layer', 'placement'] as const;

export const MOE_USAGE = `npm run bench -- moe [options]

  --parts LIST         of ${MOE_PARTS.join(', ')} (default: all)
The layer beside PyTorch:
  --sizes LIST         of ${SIZE_NAMES.join(', ')} (default: all)
  --precisions LIST    of ${PRECISIONS.join(', ')} (default: those that the processor does not emulate)
  --threads LIST       threads of each process (default: 1,2)
  --warmup N           steps before the first round, after the very first one (default: 5)
Whole runs of moeTiny on the demo data, experts in the rank or in processes of their own:
  --expert-workers LIST  their numbers; 0: experts in the rank (default: 0,1,2,4)
Both:
  --rounds N           rounds that every candidate runs (default: 5)
  --steps N            measured steps of a round (default: 10)
  --out FILE           where to write the JSON (default: bench/results/moe.json)
  --help

WEFT_BENCH_PYTHON names the Python that has torch (default: python3).`;

export interface MoeBenchOptions {
  readonly parts: readonly (typeof MOE_PARTS)[number][];
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

const MOE_OPTIONS = {
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
} as const;

/** As `parseStepArguments`. */
export function parseMoeArguments(
  words: readonly string[],
  native: readonly Precision[] = PRECISIONS,
): MoeBenchOptions {
  const values = parse(words, MOE_OPTIONS);
  return {
    parts: choices('--parts', values.parts, MOE_PARTS),
    expertWorkers: list(values['expert-workers']).map((word) => wholeNumber('--expert-workers', word, 0)),
    sizes: choices('--sizes', values.sizes, SIZE_NAMES),
    precisions: values.precisions === undefined ? native : choices('--precisions', values.precisions, PRECISIONS),
    threads: list(values.threads).map((word) => wholeNumber('--threads', word, 1)),
    rounds: wholeNumber('--rounds', values.rounds, 1),
    steps: wholeNumber('--steps', values.steps, 1),
    warmup: wholeNumber('--warmup', values.warmup, 0),
    out: values.out,
    help: values.help,
  };
}

/** Processes and sizes of the vectors, MiB, that are measured by default. */
export const ALL_REDUCE_DEFAULTS = { processes: [2, 4], mib: [1, 16, 64, 256], rounds: 5 } as const;

export const ALL_REDUCE_USAGE = `npm run bench -- all-reduce [options]     how fast the ring all-reduces float32 values, in GB/s

  --processes LIST     processes of this machine (default: ${ALL_REDUCE_DEFAULTS.processes})
  --mib LIST           sizes of the vectors (default: ${ALL_REDUCE_DEFAULTS.mib})
  --rounds N           rounds that ours and the peer run (default: ${ALL_REDUCE_DEFAULTS.rounds})
  --peers              run PyTorch's gloo in the same rounds
  --json               print JSON instead of the table
  --help

WEFT_BENCH_PYTHON names the Python that has torch (default: python3).`;

export interface AllReduceBenchOptions {
  readonly processes: readonly number[];
  /** Sizes of the vectors. */
  readonly mib: readonly number[];
  readonly rounds: number;
  /** Whether PyTorch's gloo takes part. */
  readonly peers: boolean;
  readonly json: boolean;
  readonly help: boolean;
}

/** @throws WeftError `invalid_argument` naming the option, the value and what it may be. */
export function parseAllReduceArguments(words: readonly string[]): AllReduceBenchOptions {
  const values = parse(words, {
    processes: { type: 'string', default: `${ALL_REDUCE_DEFAULTS.processes}` },
    mib: { type: 'string', default: `${ALL_REDUCE_DEFAULTS.mib}` },
    rounds: { type: 'string', default: `${ALL_REDUCE_DEFAULTS.rounds}` },
    peers: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  return {
    processes: list(values.processes).map((word) => wholeNumber('--processes', word, 1)),
    mib: list(values.mib).map((word) => positive('--mib', word)),
    rounds: wholeNumber('--rounds', values.rounds, 1),
    peers: values.peers,
    json: values.json,
    help: values.help,
  };
}

export const GENERATION_USAGE = `npm run bench -- generation [options]     new tokens per second, one text at a time and several

  --models LIST        of ${GENERATION_MODELS.join(', ')}, with their first weights (default: all)
  --batches LIST       texts that are continued at the same time (default: 1,8)
  --prompt N           tokens of each prompt (default: 32)
  --tokens N           new tokens of each text (default: 128)
  --threads N          threads of the engine (default: 1)
  --backend NAME       of ${GENERATION_BACKENDS.join(', ')} (default: tensorflow)
  --rounds N           rounds that every size runs (default: 5)
  --json               print JSON instead of the table
  --help`;

export interface GenerationBenchOptions {
  readonly models: readonly (typeof GENERATION_MODELS)[number][];
  readonly batches: readonly number[];
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly threads: number;
  readonly backend: (typeof GENERATION_BACKENDS)[number];
  readonly rounds: number;
  readonly json: boolean;
  readonly help: boolean;
}

/** @throws WeftError `invalid_argument` naming the option, the value and what it may be. */
export function parseGenerationArguments(words: readonly string[]): GenerationBenchOptions {
  const values = parse(words, {
    models: { type: 'string' },
    batches: { type: 'string', default: '1,8' },
    prompt: { type: 'string', default: '32' },
    tokens: { type: 'string', default: '128' },
    threads: { type: 'string', default: '1' },
    backend: { type: 'string', default: 'tensorflow' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  return {
    models: choices('--models', values.models, GENERATION_MODELS),
    batches: list(values.batches).map((word) => wholeNumber('--batches', word, 1)),
    promptTokens: wholeNumber('--prompt', values.prompt, 1),
    newTokens: wholeNumber('--tokens', values.tokens, 1),
    threads: wholeNumber('--threads', values.threads, 1),
    backend: choices('--backend', values.backend, GENERATION_BACKENDS)[0] ?? 'tensorflow',
    rounds: wholeNumber('--rounds', values.rounds, 1),
    json: values.json,
    help: values.help,
  };
}

export const PLAN_USAGE = `npm run bench -- plan [options]     what a dry run plans for this processor, beside what a training process takes

  --models LIST        of ${USUAL_MODELS.join(', ')} (default: all)
  --precision NAME     of ${PRECISIONS.join(', ')} (default: fp32)
  --threads N          threads of the process (default: 1)
  --rounds N           rounds of the measured process, after one that warms up (default: 3)
  --steps N            steps of a round (default: 3)
  --help

The exit code is 1 where memory is more than 15 % off, or time more than 25 %.`;

export interface PlanBenchOptions {
  readonly models: readonly (typeof USUAL_MODELS)[number][];
  readonly precision: Precision;
  readonly threads: number;
  readonly rounds: number;
  readonly steps: number;
  readonly help: boolean;
}

/** @throws WeftError `invalid_argument` naming the option, the value and what it may be. */
export function parsePlanArguments(words: readonly string[]): PlanBenchOptions {
  const values = parse(words, {
    models: { type: 'string' },
    precision: { type: 'string', default: 'fp32' },
    threads: { type: 'string', default: '1' },
    rounds: { type: 'string', default: '3' },
    steps: { type: 'string', default: '3' },
    help: { type: 'boolean', default: false },
  });
  return {
    models: choices('--models', values.models, USUAL_MODELS),
    precision: choices('--precision', values.precision, PRECISIONS)[0] ?? 'fp32',
    threads: wholeNumber('--threads', values.threads, 1),
    rounds: wholeNumber('--rounds', values.rounds, 1),
    steps: wholeNumber('--steps', values.steps, 1),
    help: values.help,
  };
}

export const OBSERVABILITY_USAGE = `npm run bench -- observability [options]   what it costs a step that everybody looks

One run on one worker, in which spells with everything on (every process scraped each second, two pages and a terminal that follow)
take turns with spells without. The exit code is 1 when it costs more than 1 %.

  --recipe NAME        of the run (default: debugTiny)
  --rounds N           rounds of both (default: 6)
  --seconds N          of each half of a round (default: 15)
  --json               print JSON instead of lines
  --help`;

/** @throws WeftError `invalid_argument` naming the option, the value and what it may be. */
export function parseObservabilityArguments(
  words: readonly string[],
): ObservabilityBenchOptions & { readonly help: boolean } {
  const values = parse(words, {
    recipe: { type: 'string', default: 'debugTiny' },
    rounds: { type: 'string', default: '6' },
    seconds: { type: 'string', default: '15' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  });
  return {
    recipe: values.recipe,
    rounds: wholeNumber('--rounds', values.rounds, 1),
    seconds: wholeNumber('--seconds', values.seconds, 1),
    json: values.json,
    help: values.help,
  };
}

/** @throws WeftError `invalid_argument` for an option that is not in the list. */
export function parse<Options extends NonNullable<ParseArgsConfig['options']>>(
  words: readonly string[],
  options: Options,
): ReturnType<typeof parseArgs<{ args: string[]; options: Options }>>['values'] {
  try {
    return parseArgs({ args: [...words], options }).values;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new WeftError('invalid_argument', message, { cause, hint: 'run the same command with --help alone' });
  }
}

function list(text: string): readonly string[] {
  return text.split(',').map((word) => word.trim());
}

/** All of them when the option is absent. */
export function choices<T extends string>(option: string, text: string | undefined, known: readonly T[]): readonly T[] {
  if (text === undefined) return known;
  return list(text).map((word) => {
    const found = known.find((each) => each === word);
    if (found !== undefined) return found;
    const near = didYouMean(word, known);
    const hint = near === undefined ? '' : `; did you mean ${near}?`;
    throw new WeftError('invalid_argument', `${option} has "${word}", which is none of ${known.join(', ')}${hint}`);
  });
}

export function wholeNumber(option: string, text: string, least: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least) return value;
  throw new WeftError('invalid_argument', `${option} is "${text}", not a whole number from ${least}`);
}

export function positive(option: string, text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value > 0) return value;
  throw new WeftError('invalid_argument', `${option} is "${text}", not a positive number`);
}
