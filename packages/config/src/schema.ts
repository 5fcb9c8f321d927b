import { z } from 'zod';
import {
  ACTIVATION_CHECKPOINTING,
  AUTOMATIC_MESH,
  BACKENDS,
  CONNECTOR_KINDS,
  DEFAULT_EVALUATION,
  DEFAULT_QUEUE,
  DEFAULT_SOURCE_KINDS,
  DROPLESS,
  MAX_IMAGES_PER_SEQUENCE,
  PRECISIONS,
  SOURCE_KINDS,
} from './run-config.js';

/**
 * What a person may write, field by field. Every leaf carries one phrase that completes
 * "<field> is <value>, but must be …"; `problems.ts` makes the sentence.
 * Defaults that depend on another field are filled in by `complete.ts`.
 */

const UINT32_MAX = 2 ** 32 - 1;

function wholeNumber(min: number, max = UINT32_MAX) {
  const error = max === UINT32_MAX ? `a whole number of at least ${min}` : `a whole number from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

function integer(min: number, max: number) {
  const error = `an integer from ${min} to ${max}`;
  return z.int({ error }).min(min, { error }).max(max, { error });
}

function positiveNumber() {
  const error = 'a number above 0';
  return z.number({ error }).positive({ error });
}

function nonNegativeNumber() {
  const error = 'a number of at least 0';
  return z.number({ error }).min(0, { error });
}

/** A number in [min, max), or in [min, max] when `inclusive`. */
function numberFrom(min: number, max: number, { inclusive }: { inclusive: boolean }) {
  const error = inclusive ? `a number from ${min} to ${max}` : `a number from ${min} to below ${max}`;
  const atLeast = z.number({ error }).min(min, { error });
  return inclusive ? atLeast.max(max, { error }) : atLeast.lt(max, { error });
}

function oneOf<const Choices extends readonly [string, ...string[]]>(choices: Choices) {
  return z.enum(choices, { error: `one of ${choices.join(', ')}` });
}

function text(meaning: string) {
  const error = `${meaning}, a text that is not empty`;
  return z.string({ error }).min(1, { error });
}

const yesOrNo = () => z.boolean({ error: 'true or false' });

const group = <Shape extends z.core.$ZodLooseShape>(shape: Shape) =>
  z.strictObject(shape, { error: `a group of fields (${Object.keys(shape).join(', ')})` });

/** A group left out is an empty group, whose own defaults then apply. */
const orEmpty = <Group extends z.ZodType>(schema: Group) => schema.prefault({} as never);

const vision = group({
  imageSize: wholeNumber(1),
  patchSize: wholeNumber(1),
  width: wholeNumber(1),
  depth: wholeNumber(1),
  heads: wholeNumber(1),
  feedForwardWidth: wholeNumber(1),
});

const connector = group({
  kind: oneOf(CONNECTOR_KINDS).default('averagePool'),
  tokensPerImage: wholeNumber(1),
  hiddenWidth: wholeNumber(1).default(1024),
  depth: wholeNumber(1).default(3),
});

const capacityError = `a number above 0, or ${DROPLESS}`;

const moe = group({
  experts: wholeNumber(2, 65_536),
  everyLayers: wholeNumber(1).default(1),
  capacityFactor: z.union([z.number().positive(), z.literal(DROPLESS)], { error: capacityError }).default(2),
  groupSize: wholeNumber(0).default(0),
  loadBalanceWeight: nonNegativeNumber().default(0.01),
  routerZWeight: nonNegativeNumber().default(0.001),
  jitter: numberFrom(0, 1, { inclusive: false }).default(0),
  exchangePrecision: oneOf(PRECISIONS).default('fp32'),
});

const decoder = group({
  vocabularySize: wholeNumber(1).optional(),
  width: wholeNumber(1),
  depth: wholeNumber(1),
  heads: wholeNumber(1),
  keyValueHeads: wholeNumber(1).optional(),
  feedForwardWidth: wholeNumber(1),
  ropeTheta: positiveNumber().default(10_000),
  qkNorm: yesOrNo().default(false),
  normEpsilon: positiveNumber().default(1e-5),
  moe: moe.nullable().default(null),
});

const model = group({
  sequenceLength: wholeNumber(2),
  vision: orEmpty(vision),
  connector: orEmpty(connector),
  decoder: orEmpty(decoder),
});

const weight = () => wholeNumber(0, 1_000_000);
/** The names are checked by `mixture-rules.ts`. */
const perSource = <Value extends z.ZodType>(value: Value, error: string) => z.record(z.string(), value, { error });

const data = group({
  directory: text('the folder that holds a folder of shards for each source'),
  tokenizer: text('bytes, or the path of a tokenizer.json').default('bytes'),
  sources: perSource(oneOf(SOURCE_KINDS), 'a group of names and kinds, such as {web: text}').default({
    ...DEFAULT_SOURCE_KINDS,
  }),
  weights: perSource(weight(), 'a group of weights, one for each source, or a ratio such as 4:4:1').default({
    captioned: 4,
    interleaved: 4,
    text: 1,
  }),
  imagesPerSequence: wholeNumber(1, MAX_IMAGES_PER_SEQUENCE).default(MAX_IMAGES_PER_SEQUENCE),
  prefetchSteps: wholeNumber(0, 64).default(2),
});

/** A learning rate as a person may write it: a number, `auto` for MM1's law, or `auto:<law or fit file>`. */
export const AUTOMATIC_RATE = /^auto(?::(.+))?$/;
const rateError = 'a number above 0, auto, or auto:<law or fit file>';

const optimizer = group({
  learningRate: z.union([positiveNumber(), z.string().regex(AUTOMATIC_RATE, { error: rateError })], {
    error: rateError,
  }),
  weightDecay: numberFrom(0, 1, { inclusive: false }).optional(),
  beta1: numberFrom(0, 1, { inclusive: false }).default(0.9),
  beta2: numberFrom(0, 1, { inclusive: false }).default(0.95),
  epsilon: positiveNumber().default(1e-8),
  clipNorm: positiveNumber().default(1),
  warmupSteps: wholeNumber(0).optional(),
  finalLearningRateRatio: numberFrom(0, 1, { inclusive: true }).default(0.1),
});

const learningRateSource = group({
  value: positiveNumber(),
  fit: text('a law'),
  formula: text('a formula'),
  source: text('where the law comes from'),
  params: positiveNumber(),
  tokens: positiveNumber(),
  interval: group({
    low: positiveNumber(),
    high: positiveNumber(),
    level: numberFrom(0, 1, { inclusive: false }),
  }).nullable(),
  extrapolation: positiveNumber(),
});

const checkpoint = group({
  everySteps: wholeNumber(1).default(1000),
  keepLast: wholeNumber(1).default(3),
});

const axis = () => wholeNumber(1, 65_536).default(1);
const meshError = 'auto, or sizes of at least 1 for fsdp, tensor and expert';
const mesh = z.union([group({ fsdp: axis(), tensor: axis(), expert: axis() }), z.literal(AUTOMATIC_MESH)], {
  error: meshError,
});

const engine = group({
  backend: oneOf(BACKENDS).default('auto'),
  threadsPerWorker: wholeNumber(0, 1024).default(0),
  mesh: mesh.prefault({}),
});

const evaluation = group({
  everySteps: wholeNumber(0).default(DEFAULT_EVALUATION.everySteps),
  sequencesPerSource: wholeNumber(0).default(DEFAULT_EVALUATION.sequencesPerSource),
});

const moment = 'a moment such as 2026-11-24T01:00:00Z, or null';

const queue = group({
  priority: integer(-1000, 1000).default(DEFAULT_QUEUE.priority),
  maxAttempts: wholeNumber(1, 1000).default(DEFAULT_QUEUE.maxAttempts),
  backoffSeconds: wholeNumber(1, 86_400).default(DEFAULT_QUEUE.backoffSeconds),
  notBefore: z.iso.datetime({ offset: true, error: moment }).nullable().default(DEFAULT_QUEUE.notBefore),
});

export const runConfigSchema = group({
  recipe: text('a name').default('custom'),
  seed: wholeNumber(0).default(0),
  initFrom: text('the folder of a checkpoint, or null').nullable().default(null),
  steps: wholeNumber(1),
  workers: wholeNumber(1, 65_536).default(1),
  minWorkers: wholeNumber(1, 65_536).nullable().default(null),
  expertWorkers: wholeNumber(0, 65_536).default(0),
  microbatchesInFlight: wholeNumber(1, 16).default(2),
  globalBatchSize: wholeNumber(1, 1_000_000),
  microbatchSize: wholeNumber(1).optional(),
  precision: oneOf(PRECISIONS).default('fp32'),
  activationCheckpointing: oneOf(ACTIVATION_CHECKPOINTING).default('none'),
  model: orEmpty(model),
  data: orEmpty(data),
  optimizer: orEmpty(optimizer),
  checkpoint: orEmpty(checkpoint),
  engine: orEmpty(engine),
  queue: orEmpty(queue),
  evaluation: orEmpty(evaluation),
  learningRateSource: learningRateSource.nullable().default(null),
});

/** A configuration of the right shape, before the derived defaults. */
export type ParsedConfig = z.output<typeof runConfigSchema>;
