import { isJsonObject, mapSources, ofSource } from '@weft/common';
import {
  type DataConfig,
  DEFAULT_CHAT_TEMPLATE,
  DEFAULT_IMAGES,
  DEFAULT_REMOTE,
  DEFAULT_SOURCE_KINDS,
} from './data-config.js';
import { expandDatasets } from './datasets.js';
import {
  BYTE_VOCABULARY_SIZE,
  DEFAULT_ADAFACTOR,
  DEFAULT_DECODER,
  type LearningRateSource,
  type ModelConfig,
  type OptimizerConfig,
  type RunConfig,
} from './run-config.js';
import { AUTOMATIC_RATE, type ParsedConfig } from './schema.js';
import type { TaskConfig } from './task-config.js';
import { DEFAULT_VISION } from './vision-config.js';

/** λ = 0.1·η for every MM1 model. */
const WEIGHT_DECAY_PER_LEARNING_RATE = 0.1;
/** MM1 warms up over 2,000 of its 200,000 steps; a short run must not spend all its steps on it. */
const LONGEST_WARMUP_STEPS = 2000;
const WARMUP_PART = 0.05;

/** The law of a learning rate that is `auto` alone. */
const DEFAULT_LAW = 'mm1';

/** Finds the learning rate of a run that is complete but for its optimizer. */
export type AutomaticRate = (run: Omit<RunConfig, 'optimizer' | 'learningRateSource'>) => LearningRateSource;

/** The law that `optimizer.learningRate` asks for in a merged, not yet checked configuration; undefined for a number. */
export function automaticLaw(input: unknown): string | undefined {
  const optimizer = isJsonObject(input) ? input.optimizer : undefined;
  const match = AUTOMATIC_RATE.exec(String(isJsonObject(optimizer) ? optimizer.learningRate : undefined));
  return match === null ? undefined : (match[1] ?? DEFAULT_LAW);
}

/**
 * Fills in the defaults that depend on other fields.
 *
 * @param automatic finds a learning rate that is `auto`; undefined where nothing can
 * @returns undefined when the learning rate is `auto` and nothing can find it
 */
export function complete(parsed: ParsedConfig, automatic: AutomaticRate | undefined): RunConfig | undefined {
  const { optimizer, learningRateSource, ...rest } = parsed;
  const run = withModelDefaults(rest);
  const { learningRate: written } = optimizer;
  const source = typeof written === 'number' ? recorded(learningRateSource, written) : (automatic?.(run) ?? null);
  const learningRate = typeof written === 'number' ? written : source?.value;
  if (learningRate === undefined) return undefined;
  return {
    ...run,
    optimizer: {
      ...optimizer,
      learningRate,
      weightDecay: optimizer.weightDecay ?? roundedProduct(WEIGHT_DECAY_PER_LEARNING_RATE, learningRate),
      warmupSteps: optimizer.warmupSteps ?? Math.min(LONGEST_WARMUP_STEPS, Math.floor(parsed.steps * WARMUP_PART)),
    },
    learningRateSource: source,
  };
}

/** A source explains the rate it gave, and no other. */
function recorded(source: LearningRateSource | null, learningRate: number): LearningRateSource | null {
  return source?.value === learningRate ? source : null;
}

function withModelDefaults(parsed: Omit<ParsedConfig, 'optimizer' | 'learningRateSource'>) {
  const { decoder } = parsed.model;
  return {
    ...parsed,
    task: withVocabulary(parsed.task),
    microbatchSize: parsed.microbatchSize ?? Math.ceil(parsed.globalBatchSize / parsed.workers),
    data: expandDatasets({
      ...parsed.data,
      weights: mapSources(parsed.data.sources, (_, source) => ofSource(parsed.data.weights, source)),
    }),
    model: {
      ...parsed.model,
      decoder: {
        ...decoder,
        vocabularySize: decoder.vocabularySize ?? BYTE_VOCABULARY_SIZE,
        keyValueHeads: decoder.keyValueHeads ?? decoder.heads,
        headWidth: decoder.headWidth ?? decoder.width / decoder.heads,
      },
    },
  };
}

function withVocabulary(task: ParsedConfig['task']): TaskConfig {
  if (task.kind !== 'contrastive') return task;
  const { vocabularySize = BYTE_VOCABULARY_SIZE, ...text } = task.text;
  return { ...task, text: { ...text, vocabularySize } };
}

/** A model as an older version stored it, with the fields that came later. */
export function completeModel(model: ModelConfig): ModelConfig {
  const { vision, decoder } = model;
  return {
    ...model,
    vision: { ...DEFAULT_VISION, ...vision },
    decoder: { ...DEFAULT_DECODER, ...{ headWidth: decoder.width / decoder.heads }, ...decoder },
  };
}

/**
 * The opposite of `completeModel`: a model without the fields that came later and say what was so before, as an older
 * version would have stored it.
 */
export function withoutLaterDefaults(model: ModelConfig): unknown {
  const { vision, decoder } = model;
  const later = { ...DEFAULT_DECODER, headWidth: decoder.width / decoder.heads };
  return { ...model, vision: without(vision, DEFAULT_VISION), decoder: without(decoder, later) };
}

/** Data settings as an older version stored them, with the fields that came later. */
export function completeData(data: DataConfig): DataConfig {
  const {
    sources = DEFAULT_SOURCE_KINDS,
    images = DEFAULT_IMAGES,
    chatTemplate = DEFAULT_CHAT_TEMPLATE,
    skippedBatches = [],
    datasets = {},
    index = null,
    // Then an index had one.
    indexVersion = 1,
    mixtureChanges = [],
    remote = DEFAULT_REMOTE,
    shuffle = null,
  }: Partial<DataConfig> = data;
  return {
    ...data,
    sources,
    images: { ...DEFAULT_IMAGES, ...images },
    chatTemplate,
    skippedBatches,
    datasets,
    index,
    indexVersion,
    mixtureChanges,
    remote,
    shuffle,
  };
}

/** Settings of the optimizer as an older version stored them, with the fields that came later. */
export function completeOptimizer(optimizer: OptimizerConfig): OptimizerConfig {
  return { ...{ kind: 'adamw', adafactor: DEFAULT_ADAFACTOR, learningRateFactors: {} }, ...optimizer };
}

/** The fields whose value is not that of `defaults`. */
function without(fields: object, defaults: object): object {
  const known = new Map(Object.entries(defaults));
  return Object.fromEntries(
    Object.entries(fields).filter(([name, value]) => !known.has(name) || known.get(name) !== value),
  );
}

/** A product without the dust of binary fractions: 0.1·3e-4 is 3e-5, not 3.0000000000000004e-5. */
const roundedProduct = (left: number, right: number) => Number((left * right).toPrecision(12));
