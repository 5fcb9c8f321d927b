import { z } from 'zod';
import { dataSchema } from './data-schema.js';
import { DEFAULT_PROMPTS, TASK_KINDS, type TaskKind } from './evaluation-tasks.js';
import { DEFAULT_QUEUE } from './queue-config.js';
import {
  ACTIVATION_CHECKPOINTING,
  AUTOMATIC_INTERVAL,
  AUTOMATIC_MESH,
  BACKENDS,
  COLLECTIVES,
  CONNECTOR_KINDS,
  DEFAULT_ADAFACTOR,
  DEFAULT_CHECKPOINT,
  DEFAULT_DECODER,
  DEFAULT_DIVERGENCE,
  DEFAULT_EVALUATION,
  DEFAULT_STRAGGLERS,
  DIVERGENCE_POLICIES,
  DROPLESS,
  OPTIMIZER_KINDS,
  PRECISION_SETTINGS,
  PRECISIONS,
  STRAGGLER_POLICIES,
} from './run-config.js';
import {
  group,
  integer,
  nonNegativeNumber,
  numberAbove,
  numberFrom,
  oneOf,
  orEmpty,
  positiveNumber,
  text,
  wholeNumber,
  yesOrNo,
} from './schema-fields.js';
import { DEFAULT_TASK, MAX_SCALE, POOLINGS, TRAIN_TASKS } from './task-config.js';
import { DEFAULT_VISION, VISION_ACTIVATIONS } from './vision-config.js';

/**
 * What a person may write, field by field. Every leaf carries one phrase that completes
 * "<field> is <value>, but must be …"; `problems.ts` makes the sentence.
 * Defaults that depend on another field are filled in by `complete.ts`.
 */

/** Far above any model that was ever trained; what is above is a slip, and would only cost memory before it fails. */
const LARGEST = { depth: 4096, width: 1_048_576, heads: 65_536, pixels: 65_536, tokens: 16_777_216 } as const;

const vision = group({
  imageSize: wholeNumber(1, LARGEST.pixels),
  patchSize: wholeNumber(1, LARGEST.pixels),
  width: wholeNumber(1, LARGEST.width),
  depth: wholeNumber(1, LARGEST.depth),
  heads: wholeNumber(1, LARGEST.heads),
  feedForwardWidth: wholeNumber(1, LARGEST.width),
  classToken: yesOrNo().default(DEFAULT_VISION.classToken),
  inputNorm: yesOrNo().default(DEFAULT_VISION.inputNorm),
  patchBias: yesOrNo().default(DEFAULT_VISION.patchBias),
  keyBias: yesOrNo().default(DEFAULT_VISION.keyBias),
  activation: oneOf(VISION_ACTIVATIONS).default(DEFAULT_VISION.activation),
  normEpsilon: positiveNumber().default(DEFAULT_VISION.normEpsilon),
  featureLayer: wholeNumber(1).nullable().default(DEFAULT_VISION.featureLayer),
  outputNorm: yesOrNo().default(DEFAULT_VISION.outputNorm),
});

const connector = group({
  kind: oneOf(CONNECTOR_KINDS).default('averagePool'),
  tokensPerImage: wholeNumber(1, LARGEST.tokens),
  hiddenWidth: wholeNumber(1, LARGEST.width).default(1024),
  depth: wholeNumber(1, LARGEST.depth).default(3),
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

const ropeScaling = group({
  factor: positiveNumber(),
  lowFrequencyFactor: positiveNumber(),
  highFrequencyFactor: positiveNumber(),
  originalLength: wholeNumber(1),
});

const decoder = group({
  vocabularySize: wholeNumber(1, LARGEST.tokens).optional(),
  width: wholeNumber(1, LARGEST.width),
  depth: wholeNumber(1, LARGEST.depth),
  heads: wholeNumber(1, LARGEST.heads),
  keyValueHeads: wholeNumber(1, LARGEST.heads).optional(),
  headWidth: wholeNumber(1, LARGEST.width).optional(),
  feedForwardWidth: wholeNumber(1, LARGEST.width),
  ropeTheta: positiveNumber().default(10_000),
  ropeScaling: ropeScaling.nullable().default(DEFAULT_DECODER.ropeScaling),
  qkvBias: yesOrNo().default(DEFAULT_DECODER.qkvBias),
  tiedEmbeddings: yesOrNo().default(DEFAULT_DECODER.tiedEmbeddings),
  qkNorm: yesOrNo().default(false),
  normEpsilon: positiveNumber().default(1e-5),
  moe: moe.nullable().default(null),
});

const model = group({
  sequenceLength: wholeNumber(2, LARGEST.tokens),
  vision: orEmpty(vision),
  connector: orEmpty(connector),
  decoder: orEmpty(decoder),
});

const textTower = group({
  vocabularySize: wholeNumber(1, LARGEST.tokens).optional(),
  width: wholeNumber(1, LARGEST.width),
  depth: wholeNumber(1, LARGEST.depth),
  heads: wholeNumber(1, LARGEST.heads),
  feedForwardWidth: wholeNumber(1, LARGEST.width),
  activation: oneOf(VISION_ACTIVATIONS).default(DEFAULT_VISION.activation),
  normEpsilon: positiveNumber().default(DEFAULT_VISION.normEpsilon),
});

const scaleError = `a number above 0 and at most ${MAX_SCALE}`;

const task = z
  .discriminatedUnion(
    'kind',
    [
      group({ kind: z.literal('languageModel') }),
      group({
        kind: z.literal('contrastive'),
        embeddingWidth: wholeNumber(1, LARGEST.width),
        pooling: oneOf(POOLINGS).default('classToken'),
        initialScale: z
          .number({ error: scaleError })
          .positive({ error: scaleError })
          .max(MAX_SCALE, { error: scaleError })
          .default(1 / 0.07),
        text: orEmpty(textTower),
      }),
      group({
        kind: z.literal('reconstructive'),
        headWidth: wholeNumber(1, LARGEST.width),
        headDepth: wholeNumber(0, LARGEST.depth),
      }),
    ],
    { error: `one of ${TRAIN_TASKS.join(', ')}` },
  )
  .default(DEFAULT_TASK);

/** A learning rate as a person may write it: a number, `auto` for MM1's law, or `auto:<law or fit file>`. */
export const AUTOMATIC_RATE = /^auto(?::(.+))?$/;
const rateError = 'a number above 0, auto, or auto:<law or fit file>';

const adafactor = group({
  decayExponent: numberFrom(0, 1, { inclusive: true }).default(DEFAULT_ADAFACTOR.decayExponent),
  clipThreshold: positiveNumber().default(DEFAULT_ADAFACTOR.clipThreshold),
  epsilon: positiveNumber().default(DEFAULT_ADAFACTOR.epsilon),
  scaleByParameter: yesOrNo().default(DEFAULT_ADAFACTOR.scaleByParameter),
  smallestScale: positiveNumber().default(DEFAULT_ADAFACTOR.smallestScale),
});

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
  learningRateFactors: z
    .record(z.string(), nonNegativeNumber(), {
      error: 'a group of patterns and factors, such as {connector: 2, vision: 0}',
    })
    .default({}),
  kind: oneOf(OPTIMIZER_KINDS).default('adamw'),
  adafactor: orEmpty(adafactor),
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

const minutesError = `a number above 0, ${AUTOMATIC_INTERVAL}, or null`;

const checkpoint = group({
  everySteps: wholeNumber(1).default(1000),
  everyMinutes: z
    .union([positiveNumber(), z.literal(AUTOMATIC_INTERVAL)], { error: minutesError })
    .nullable()
    .default(DEFAULT_CHECKPOINT.everyMinutes),
  keepLast: wholeNumber(1).default(3),
  keepEvery: wholeNumber(0).default(DEFAULT_CHECKPOINT.keepEvery),
});

const divergence = group({
  policy: oneOf(DIVERGENCE_POLICIES).default(DEFAULT_DIVERGENCE.policy),
  threshold: positiveNumber().default(DEFAULT_DIVERGENCE.threshold),
  patienceSteps: wholeNumber(1).default(DEFAULT_DIVERGENCE.patienceSteps),
  rollbackSteps: wholeNumber(1).default(DEFAULT_DIVERGENCE.rollbackSteps),
});

const stragglers = group({
  factor: numberAbove(1).default(DEFAULT_STRAGGLERS.factor),
  steps: wholeNumber(1).default(DEFAULT_STRAGGLERS.steps),
  policy: oneOf(STRAGGLER_POLICIES).default(DEFAULT_STRAGGLERS.policy),
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
  collectives: oneOf(COLLECTIVES).default('auto'),
});

const path = (meaning: string) => text(meaning).nullable().default(null);

const imageTask = <Kind extends TaskKind>(kind: Kind, prompt: string) =>
  group({
    kind: z.literal(kind),
    examples: text('a file of examples, or heldOut'),
    questions: path('a file of questions'),
    images: path('a folder or tar archive of images'),
    shotExamples: path('a file of examples'),
    shotQuestions: path('a file of questions'),
    shotImages: path('a folder or tar archive of images'),
    prompt: text('a text with {IMAGE}').default(prompt),
    separator: text('a text between two shots').default('\n'),
    maxTokens: wholeNumber(1, 65_536).nullable().default(null),
  });

const textTask = <Kind extends TaskKind>(kind: Kind) =>
  group({
    kind: z.literal(kind),
    examples: text('a file of JSON lines, or heldOut'),
    shotExamples: path('a file of JSON lines'),
    separator: text('a text between two shots').default('\n\n'),
  });

/** One task of an evaluation. */
const evaluationTask = z.discriminatedUnion(
  'kind',
  [
    imageTask('caption', DEFAULT_PROMPTS.caption),
    imageTask('question', DEFAULT_PROMPTS.question),
    textTask('multipleChoice'),
    textTask('lastWord'),
  ],
  { error: `one of ${TASK_KINDS.join(', ')}` },
);

const evaluation = group({
  everySteps: wholeNumber(0).default(DEFAULT_EVALUATION.everySteps),
  sequencesPerSource: wholeNumber(0).default(DEFAULT_EVALUATION.sequencesPerSource),
  tasks: z.record(z.string(), evaluationTask, { error: 'a group of tasks by name, or demo' }).default({}),
  shots: z
    .array(wholeNumber(0, 1024), { error: 'whole numbers such as 0,4,8' })
    .min(1, { error: 'at least one number, such as 0' })
    .default([...DEFAULT_EVALUATION.shots]),
  tasksEverySteps: wholeNumber(0).default(DEFAULT_EVALUATION.tasksEverySteps),
  examplesPerTask: wholeNumber(1).nullable().default(DEFAULT_EVALUATION.examplesPerTask),
  shotSeed: wholeNumber(0).default(DEFAULT_EVALUATION.shotSeed),
});

const moment = 'a moment such as 2026-11-24T01:00:00Z, or null';

const queue = group({
  priority: integer(-1000, 1000).default(DEFAULT_QUEUE.priority),
  maxAttempts: wholeNumber(1, 1000).default(DEFAULT_QUEUE.maxAttempts),
  backoffSeconds: wholeNumber(1, 86_400).default(DEFAULT_QUEUE.backoffSeconds),
  notBefore: z.iso.datetime({ offset: true, error: moment }).nullable().default(DEFAULT_QUEUE.notBefore),
  after: z.array(text('the id of a run'), { error: 'a list of runs: [run1, run2]' }).default([...DEFAULT_QUEUE.after]),
});

const partCheckpoint = () => text('the folder of a checkpoint, or null').nullable().default(null);
const initFrom = z.union(
  [
    group({ vision: partCheckpoint(), connector: partCheckpoint(), decoder: partCheckpoint() }),
    text('the folder of a checkpoint'),
  ],
  { error: 'the folder of a checkpoint, one for each of vision, connector and decoder, or null' },
);

export const runConfigSchema = group({
  recipe: text('a name').default('custom'),
  seed: wholeNumber(0).default(0),
  initFrom: initFrom.nullable().default(null),
  steps: wholeNumber(1),
  workers: wholeNumber(1, 65_536).default(1),
  minWorkers: wholeNumber(1, 65_536).nullable().default(null),
  expertWorkers: wholeNumber(0, 65_536).default(0),
  expertCopies: z.union([z.boolean(), z.literal('auto')], { error: 'true, false or auto' }).default('auto'),
  microbatchesInFlight: wholeNumber(1, 16).default(2),
  globalBatchSize: wholeNumber(1, 1_000_000),
  microbatchSize: wholeNumber(1).optional(),
  precision: oneOf(PRECISION_SETTINGS).default('fp32'),
  activationCheckpointing: oneOf(ACTIVATION_CHECKPOINTING).default('none'),
  task,
  model: orEmpty(model),
  data: orEmpty(dataSchema),
  optimizer: orEmpty(optimizer),
  checkpoint: orEmpty(checkpoint),
  divergence: orEmpty(divergence),
  stragglers: orEmpty(stragglers),
  engine: orEmpty(engine),
  queue: orEmpty(queue),
  evaluation: orEmpty(evaluation),
  learningRateSource: learningRateSource.nullable().default(null),
});

/** A configuration of the right shape, before the derived defaults. */
export type ParsedConfig = z.output<typeof runConfigSchema>;
