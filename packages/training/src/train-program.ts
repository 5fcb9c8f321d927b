import { refuse } from '@weft/common';
import type { OptimizerConfig } from '@weft/config';
import type { ForwardPass, TaskBatch, TrainTask } from '@weft/tasks';
import {
  type HostTensor,
  itemAt,
  type Phase,
  type PhaseContext,
  type PhaseInputs,
  type PhaseRun,
  required,
  type TensorSpec,
  tf,
} from '@weft/tensor';
import {
  type BucketLayout,
  bucketInputs,
  type GradientBucket,
  gradientBuckets,
  joinedGradients,
  packBuckets,
  separateBuckets,
  unpackGradients,
  unpackTotals,
} from './gradient-buckets.js';
import { adamwApply, clipScale, globalNorm } from './optimizer/adamw.js';
import { scheduleFactor } from './optimizer/schedule.js';
import { type StatefulProgram, trainedState } from './state.js';

/** The training of one rank as a program: what it keeps between steps, and the phases of a step. */
export interface TrainProgram extends StatefulProgram {
  readonly buckets: readonly GradientBucket[];
}

/** The phases of a step, in order; `accumulate` is `gradients` for every microbatch after the first. */
export type TrainPhase = 'gradients' | 'accumulate' | 'measure' | 'apply' | 'evaluate';

/** An executor of a train program. Every `Executor` is one; this one knows the names of the phases. */
export interface TrainExecutor {
  run(phase: TrainPhase, inputs: PhaseInputs): Promise<Record<string, HostTensor>>;
  begin(phase: TrainPhase, inputs: PhaseInputs): Promise<PhaseRun>;
}

/** The settings that the update reads. */
export interface UpdateConfig {
  readonly optimizer: OptimizerConfig;
  /** Steps of the whole run, for the schedule. */
  readonly steps: number;
}

const SCALAR: TensorSpec = { shape: [], dtype: 'float32' };

/**
 * The program that `trainStep` runs:
 * - `gradients`: one microbatch → sums of the gradients in flat buckets, with the totals of the step behind bucket 0;
 * - `accumulate`: the same, added to the buckets of the microbatches before;
 * - `measure`: reduced buckets → `loss`, `gradNorm`, `lossTokens` and `stats` of the step;
 * - `apply`: reduced buckets → clipped AdamW update under the schedule, and the `learningRate` it used;
 * - `evaluate`: one microbatch → `lossSum` and `lossTokens`, without gradients.
 *
 * On a mesh of devices gradients stay separate, in the shapes of their parameters.
 *
 * With remote experts, the passes also give out rows and wait for answers at every MoE layer, see `exchangeNames`.
 */
export function trainProgram(task: TrainTask, update: UpdateConfig, layout: BucketLayout = 'joined'): TrainProgram {
  const { parameters, remoteExperts } = task;
  const buckets = (layout === 'joined' ? gradientBuckets : separateBuckets)(parameters, task.statsLength);
  const reduced = bucketInputs(buckets);
  const trainInputs = { ...task.batch, ...remoteExperts?.trainInputs };
  const phases: Record<TrainPhase, Phase> = {
    gradients: {
      inputs: trainInputs,
      run: (context) => {
        const { packed, captured } = microbatchGradients(task, buckets, context);
        return { ...packed, ...captured };
      },
    },
    accumulate: {
      inputs: { ...trainInputs, ...reduced },
      run: (context) => {
        const { packed, captured } = microbatchGradients(task, buckets, context);
        const sums = Object.entries(packed).map(([name, bucket]) => [name, tf.add(bucket, context.input(name))]);
        return { ...Object.fromEntries(sums), ...captured };
      },
    },
    measure: { inputs: reduced, run: (context) => measure(buckets, context) },
    apply: {
      inputs: { ...reduced, gradNorm: SCALAR, step: SCALAR },
      run: (context) => applyUpdate(task, update, buckets, context),
    },
    evaluate: {
      inputs: { ...task.batch, ...remoteExperts?.evaluateInputs },
      run: (context) => evaluate(task, context),
    },
  };
  return { name: task.name, phases, parameters, buckets, ...trainedState(parameters, task.isRemote) };
}

/** What one microbatch gives. */
interface MicrobatchGradients {
  /** The buckets, by name. */
  readonly packed: Readonly<Record<string, tf.Tensor>>;
  /** What the pass gives out on its way, by name. */
  readonly captured: Readonly<Record<string, tf.Tensor>>;
}

/** One microbatch forwards and back. Gradients are sums: only `measure` and `apply` divide, by the tokens of all ranks. */
function microbatchGradients(
  task: TrainTask,
  buckets: readonly GradientBucket[],
  context: PhaseContext,
): MicrobatchGradients {
  const batch = batchOf(task, context);
  const names = task.parameters.map(({ name }) => name);
  const weights = names.map((name) => context.read(name));
  const aux = new AuxOutputs();
  const { grads } = tf.valueAndGrads((...weights: tf.Tensor[]) => {
    const parameter = lookup(names, weights);
    const { objective, lossSum, stats } = task.forward(
      forwardPass(context, aux, { batch, parameter, isTraining: true }),
    );
    aux.capture('lossSum', lossSum);
    if (stats !== undefined) aux.capture('stats', stats);
    return objective;
  })(weights);
  const { lossSum, stats, ...captured } = aux.collect();
  const totals = {
    lossSum: flatten(lossSum ?? refuse('internal', 'the forward pass gave no loss')),
    lossTokens: flatten(task.lossTokens(batch)),
    stats,
  };
  return { packed: packBuckets(buckets, lookup(names, grads), totals), captured };
}

/** The norm is not finite when any gradient is not, which is how ranks learn that a step must not be applied. */
function measure(buckets: readonly GradientBucket[], context: PhaseContext): Record<string, tf.Tensor> {
  const { lossSum, lossTokens, stats } = unpackTotals(context, buckets);
  const norm = globalNorm(
    buckets.filter(({ gradientLength }) => gradientLength > 0).map((bucket) => joinedGradients(context, bucket)),
  );
  const means = { loss: tf.div(lossSum, lossTokens), gradNorm: tf.div(norm, lossTokens) };
  return { ...means, lossTokens, ...(stats === undefined ? {} : { stats }) };
}

/** The norm is an input: with expert workers it is that of the whole model, and this rank has a part of the gradients. */
function applyUpdate(
  { parameters }: TrainTask,
  { optimizer, steps }: UpdateConfig,
  buckets: readonly GradientBucket[],
  context: PhaseContext,
): Record<string, tf.Tensor> {
  const { lossTokens } = unpackTotals(context, buckets);
  const clip = clipScale(context.input('gradNorm'), optimizer.clipNorm);
  const gradient = unpackGradients(context, buckets);
  const step = context.input('step');
  const factor = scheduleFactor(optimizer, steps, step);
  adamwApply(context, optimizer, parameters, { gradient, gradientScale: tf.div(clip, lossTokens), step, factor });
  return { learningRate: tf.mul(factor, optimizer.learningRate) };
}

function evaluate(task: TrainTask, context: PhaseContext): Record<string, tf.Tensor> {
  const batch = batchOf(task, context);
  const parameter = (name: string) => context.read(name);
  const aux = new AuxOutputs();
  const { lossSum } = task.forward(forwardPass(context, aux, { batch, parameter, isTraining: false }));
  return { lossSum, lossTokens: task.lossTokens(batch), ...aux.collect() };
}

function batchOf({ batch }: TrainTask, context: PhaseContext): TaskBatch {
  return Object.fromEntries(Object.keys(batch).map((name) => [name, context.input(name)]));
}

function forwardPass(
  context: PhaseContext,
  aux: AuxOutputs,
  pass: Pick<ForwardPass, 'batch' | 'parameter' | 'isTraining'>,
): ForwardPass {
  return {
    ...pass,
    capture: (name, tensor) => aux.capture(name, tensor),
    pendingInput: (name) => context.input(name),
  };
}

/** Captures extra tensors computed inside `tf.valueAndGrads`, which returns only the loss and its gradients. */
class AuxOutputs {
  readonly #captured = new Map<string, tf.Tensor>();

  capture(name: string, tensor: tf.Tensor): void {
    this.#captured.set(name, tf.keep(tf.clone(tensor)));
  }

  /** What was captured, by name, as tensors of the scope of the caller. May be called once. */
  collect(): Record<string, tf.Tensor> {
    const collected = [...this.#captured].map(([name, tensor]) => {
      const own = tf.clone(tensor);
      tensor.dispose();
      return [name, own] as const;
    });
    this.#captured.clear();
    return Object.fromEntries(collected);
  }
}

function lookup(names: readonly string[], tensors: readonly tf.Tensor[]): (name: string) => tf.Tensor {
  const byName = new Map(names.map((name, i) => [name, itemAt(tensors, i)]));
  return (name) => required(byName, name);
}

function flatten(scalar: tf.Tensor): tf.Tensor {
  return tf.reshape(scalar, [1]);
}
