import { totalmem } from 'node:os';
import { bytes, WeftError } from '@weft/common';
import { type RunConfig, viewsPerPicture } from '@weft/config';
import { openRunTokenizer, type Tokenizer } from '@weft/data';
import { type Executor, elementCount, type Program } from '@weft/tensor';
import type { ParameterValues } from './checkpoint-parameters.js';
import { Continuations, type GenerateOptions, type GenerationEvent, type PromptSource } from './continuations.js';
import { DecoderSession } from './decoder-session.js';
import { type LikelihoodQuery, type LogLikelihood, logLikelihoods } from './log-likelihoods.js';
import { generationProgram } from './program.js';
import type { PromptLimits } from './prompt.js';

/** A model that answers. It does one thing at a time: a call during another one is refused. */
export interface Generator {
  /** For people: which engine this is. */
  readonly description: string;
  readonly tokenizer: Tokenizer;
  /**
   * Continues prompts, several at a time: each waits for a free slot. What comes does not depend on the slots, nor on
   * the other prompts. Events of different prompts are mixed; those of one prompt are in order, and the last is `done`.
   * A prompt that cannot be read ends with the reason `failed`, and the others go on.
   * @param prompts taken when a slot is free, so that they need not all be in memory
   * @throws WeftError `cancelled` when the signal aborts, `invalid_argument` for options out of range
   */
  generate(
    prompts: Iterable<PromptSource> | AsyncIterable<PromptSource>,
    options: GenerateOptions,
  ): AsyncGenerator<GenerationEvent, void>;
  /**
   * How likely the model finds texts behind prompts. Queries that share the beginning of their prompts are fastest one
   * after the other.
   * @returns in the order of the queries
   * @throws WeftError for the first prompt that cannot be read
   */
  logLikelihoods(queries: readonly LikelihoodQuery[]): Promise<readonly LogLikelihood[]>;
  /** Replaces the parameters: another checkpoint, or the state of a run under way. */
  loadParameters(parameters: ParameterValues): Promise<void>;
  close(): Promise<void>;
}

/** What a generator is opened with. */
export interface GeneratorOptions {
  readonly config: Pick<RunConfig, 'model' | 'data'>;
  /** All parameters of the model, as `checkpointParameters` gives them. */
  readonly parameters: ParameterValues;
  /** Makes the executor of a program, with the backend, precision and mesh of the run. */
  readonly openExecutor: (program: Program) => Executor;
  /** Prompts that are continued at the same time. Default: 8. */
  readonly slots?: number;
  /** The most positions of prompt and continuation together. Default, and at most: `model.sequenceLength`. */
  readonly maxPositions?: number;
}

const DEFAULT_SLOTS = 8;

/**
 * Makes a model answer.
 * @throws WeftError of the tokenizer, of the parameters, `native_library` of the executor
 */
export async function openGenerator(options: GeneratorOptions): Promise<Generator> {
  const { config, parameters, slots = DEFAULT_SLOTS, maxPositions } = options;
  const { model } = config;
  const tokenizer = await openRunTokenizer(config);
  const cacheLength = Math.min(maxPositions ?? model.sequenceLength, model.sequenceLength);
  const shape = { slots, cacheLength, vocabularySize: tokenizer.vocabularySize };
  const program = generationProgram(model, shape);
  checkCacheSize(program, slots);
  const executor = options.openExecutor(program);
  const session = new DecoderSession(executor, config, shape);
  const limits: PromptLimits = {
    tokenizer,
    tokensPerImage: viewsPerPicture(config.data.images) * model.connector.tokensPerImage,
    sequenceLength: cacheLength,
  };
  let isBusy = false;
  const begin = () => {
    if (isBusy) throw new WeftError('failed_precondition', 'the generator is busy with another call');
    isBusy = true;
  };
  const exclusively = async <Result>(work: () => Promise<Result>): Promise<Result> => {
    begin();
    try {
      return await work();
    } finally {
      isBusy = false;
    }
  };
  const load = async (values: ParameterValues) => {
    session.forgetImages();
    await writeParameters(executor, program, values);
  };
  try {
    await session.clearCache(program);
    await load(parameters);
  } catch (thrown) {
    await executor.dispose();
    throw thrown;
  }
  return {
    description: executor.description,
    tokenizer,
    async *generate(prompts, generateOptions) {
      begin();
      try {
        yield* new Continuations(session, limits, slots, generateOptions).run(prompts);
      } finally {
        isBusy = false;
      }
    },
    logLikelihoods: (queries) => exclusively(() => logLikelihoods(session, limits, queries)),
    loadParameters: (values) => exclusively(() => load(values)),
    close: () => executor.dispose(),
  };
}

/** @throws WeftError `invalid_argument` for a cache that this machine cannot hold, on whatever device it may be */
function checkCacheSize({ state }: Program, slots: number): void {
  const cache = Object.entries(state).filter(([name]) => name.startsWith('cache/'));
  const size = cache.reduce((sum, [, { shape }]) => sum + 4 * elementCount(shape), 0);
  const memory = totalmem();
  if (size <= memory) return;
  throw new WeftError(
    'invalid_argument',
    `the keys and values of ${slots} texts at a time take ${bytes(size)}, but this machine has ${bytes(memory)} of memory`,
    { hint: `continue ${Math.max(1, Math.floor((slots * memory) / size / 2))} at a time` },
  );
}

/** @throws WeftError `invalid_argument` when a parameter is missing */
async function writeParameters(executor: Executor, { state }: Program, values: ParameterValues): Promise<void> {
  const missing = new Set(Object.keys(state).filter((name) => !name.startsWith('cache/')));
  for await (const [name, array] of values) {
    if (!missing.delete(name)) continue;
    await executor.writeState({ [name]: array });
  }
  const [first] = missing;
  if (first !== undefined) throw new WeftError('invalid_argument', `the parameters lack ${first}`);
}
