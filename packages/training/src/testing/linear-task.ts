// Legend: B sequences of a microbatch, each a single point with two features; S steps.
import { Random } from '@weft/common';
import { type RunConfig, type RunConfigInput, resolveRunConfig } from '@weft/config';
import type { ForwardPass, HeldOutSet, Microbatch, RankBatch, TaskParameter, TrainTask } from '@weft/tasks';
import { tf } from '@weft/tensor';
import { tinyRun } from '@weft/testing';
import { rankSlice, stepSequences } from '@weft/topology';

/** What the points lie on: y = 3·x₀ − 2·x₁ + 1. */
const TRUTH = { weights: [3, -2], bias: 1 } as const;

/** A run of the linear task: 4 points a step, in microbatches of 2, on the JavaScript engine. */
export function linearConfig(changes: RunConfigInput = {}): RunConfig {
  return resolveRunConfig({
    ...tinyRun,
    recipe: 'linear',
    steps: 4,
    globalBatchSize: 4,
    microbatchSize: 2,
    data: { directory: 'none' },
    optimizer: { learningRate: 0.05, warmupSteps: 0, weightDecay: 0 },
    engine: { backend: 'javascript' },
    ...changes,
  });
}

/** How a test changes or observes the linear task. */
export interface LinearTaskOptions {
  readonly config: RunConfig;
  /** Default: `linear`. */
  readonly identity?: string;
  /** Changes the target of a point, by its number in the run. Default: it stays. */
  readonly target?: (point: number, y: number) => number;
  /** Whether the loss counts a point. Default: yes. */
  readonly isTarget?: (point: number) => boolean;
  /** Called in every forward pass. Default: nothing. */
  readonly onForward?: (pass: ForwardPass) => void;
}

/**
 * Linear regression: the smallest task that is not a language model. Its loss is the sum of squared errors; its one
 * statistic is the number of points that are too low. No tests of the training loop need more of a model.
 */
export function linearTask({
  config,
  identity = 'linear',
  target = (_, y) => y,
  isTarget = () => true,
  onForward,
}: LinearTaskOptions): TrainTask {
  const { microbatchSize: B, globalBatchSize, evaluation } = config;

  const pointsOf = (numbers: readonly number[]): Microbatch => {
    const batch = { x_B2: new Float32Array(2 * B), y_B: new Float32Array(B), mask_B: new Float32Array(B) };
    for (const [row, number] of numbers.entries()) {
      const random = Random.of('point', number);
      const [x0, x1] = [random.normal(), random.normal()];
      batch.x_B2.set([x0, x1], 2 * row);
      batch.y_B[row] = target(number, TRUTH.weights[0] * x0 + TRUTH.weights[1] * x1 + TRUTH.bias);
      batch.mask_B[row] = isTarget(number) ? 1 : 0;
    }
    return batch;
  };
  const microbatches = (first: number, end: number): Microbatch[] => {
    const starts = Array.from({ length: Math.ceil((end - first) / B) }, (_, i) => first + i * B);
    return starts.map((start) => pointsOf(Array.from({ length: Math.min(B, end - start) }, (_, i) => start + i)));
  };
  const heldOutSet = (source: HeldOutSet['source'], weight: number, firstPoint: number): HeldOutSet => ({
    source,
    weight,
    async *microbatches(rank, worldSize) {
      const { first, end } = rankSlice(0, evaluation.sequencesPerSource, rank, worldSize);
      yield* microbatches(firstPoint + first, firstPoint + end);
    },
  });

  return {
    name: 'linear regression',
    parameters: [parameter('weights', [2]), parameter('bias', [])],
    sequenceLength: 1,
    batch: {
      x_B2: { shape: [B, 2], dtype: 'float32' },
      y_B: { shape: [B], dtype: 'float32' },
      mask_B: { shape: [B], dtype: 'float32' },
    },
    statsLength: 1,
    remoteExperts: undefined,
    forward: (pass) => {
      onForward?.(pass);
      const { batch, parameter } = pass;
      const { x_B2, y_B, mask_B } = batch;
      const predicted_B = tf.add(tf.sum(tf.mul(x_B2!, parameter('weights')), 1), parameter('bias'));
      const error_B = tf.mul(tf.sub(predicted_B, y_B!), mask_B!);
      const lossSum = tf.sum<tf.Scalar>(tf.square(error_B));
      const tooLow = tf.sum(tf.cast(tf.less(error_B, 0), 'float32'));
      return { objective: lossSum, lossSum, stats: tf.reshape(tooLow, [1]) };
    },
    lossTokens: ({ mask_B }) => tf.sum(mask_B!),
    readStats: () => ({ moeLayers: [] }),
    isRemote: () => false,
    openData: async () => ({
      identityOf: () => identity,
      openLoader: () => ({
        load: async (step, rank, worldSize): Promise<RankBatch> => {
          const all = stepSequences(step, globalBatchSize);
          const { first, end } = rankSlice(all.first, all.end, rank, worldSize);
          return { microbatches: microbatches(first, end), digest: `${first}-${end}` };
        },
        close: async () => {},
      }),
      heldOut: [heldOutSet('captioned', 2, 1000), heldOutSet('interleaved', 0, 2000), heldOutSet('text', 1, 3000)],
      close: async () => {},
    }),
  };
}

function parameter(name: string, shape: readonly number[]): TaskParameter {
  const stored = [{ name, shape, offset: 0, initialSources: [name], maySeed: false, isPositions: false }];
  const length = shape.reduce((product, each) => product * each, 1);
  const initialValue = (seed: number) => {
    const random = Random.of(seed, name);
    return Float32Array.from({ length }, () => random.normal());
  };
  return { name, shape, weightDecay: true, stored, initialValue };
}
