import { refuse } from '@weft/common';
import type { OptimizerConfig } from '@weft/config';
import {
  type BatchVariant,
  type ForwardPass,
  isTrained,
  type Microbatch,
  SHARED_ROWS,
  type TaskBatch,
  type TrainTask,
} from '@weft/tasks';
import {
  type Box,
  elementCount,
  type HostTensor,
  itemAt,
  type Phase,
  type PhaseContext,
  type PhaseInputs,
  type PhaseRun,
  type ResidentTensor,
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
import { clipScale, globalNorm } from './optimizer/adamw.js';
import { applyOptimizer, optimized } from './optimizer/optimizer.js';
import { scheduleFactor } from './optimizer/schedule.js';
import { type StatefulProgram, trainedState } from './state.js';

/** The training of one rank as a program: what it keeps between steps, and the phases of a step. */
export interface TrainProgram extends StatefulProgram {
  readonly buckets: readonly GradientBucket[];
  /** The phase that takes a microbatch of this shape. */
  phaseOf(pass: MicrobatchPass, microbatch: Microbatch): TrainPhase;
}

/** What is done with one microbatch; `accumulate` is `gradients` for every microbatch of a step after the first. */
export type MicrobatchPass = 'gradients' | 'accumulate' | 'evaluate';

/**
 * The phases of a step. Smaller microbatches have phases of their own, such as `gradients/12-images`, and so has each round
 * in which a task shares values: `share/features`.
 */
export type TrainPhase = MicrobatchPass | `${MicrobatchPass}/${string}` | SharePhase | 'measure' | 'apply';

/** The phase of a round, by its name. */
export type SharePhase = `share/${string}`;

/** An executor of a train program. Every `Executor` is one; this one knows the names of the phases. */
export interface TrainExecutor {
  run(phase: TrainPhase, inputs: PhaseInputs): Promise<Record<string, HostTensor>>;
  runResident(phase: TrainPhase, inputs: PhaseInputs): Promise<Record<string, ResidentTensor>>;
  begin(phase: TrainPhase, inputs: PhaseInputs, outputsEarly?: boolean): Promise<PhaseRun>;
  boxesOf(spec: TensorSpec): Promise<readonly Box[]>;
}

/** How the program of a run differs from that of another one. */
export interface TrainProgramOptions {
  /** Default: joined. */
  readonly layout?: BucketLayout;
  /** Shapes of microbatches beside the task's `batch`. Default: none. */
  readonly variants?: readonly BatchVariant[] | undefined;
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
 * - `share/…`: for a task that shares values: one microbatch → a row for each of its sequences;
 * - `gradients`: one microbatch → sums of the gradients in flat buckets, with the totals of the step behind bucket 0;
 * - `accumulate`: the same, added to the buckets of the microbatches before;
 * - `measure`: reduced buckets → `loss`, `gradNorm`, `lossTokens` and `stats` of the step;
 * - `apply`: reduced buckets → clipped gradients in an update of the optimizer under the schedule, and the `learningRate` it used;
 * - `evaluate`: one microbatch → `lossSum` and `lossTokens`, without gradients.
 *
 * On a mesh of devices gradients stay separate, in the shapes of their parameters.
 *
 * The phases that take a microbatch exist once for every shape in which microbatches come. They are compiled when they are
 * first run, and share state and buckets. What a smaller microbatch does not ask for has a gradient of zeros.
 *
 * With remote experts, the passes also give out rows and wait for answers at every MoE layer, see `exchangeNames`.
 */
export function trainProgram(
  task: TrainTask,
  update: UpdateConfig,
  { layout = 'joined', variants = [] }: TrainProgramOptions = {},
): TrainProgram {
  const { parameters } = task;
  const trained = parameters.filter(isTrained);
  const buckets = (layout === 'joined' ? gradientBuckets : separateBuckets)(trained, task.statsLength);
  const reduced = bucketInputs(buckets);
  const smaller = variants.flatMap(({ name, batch }) =>
    Object.entries(microbatchPhases(task, buckets, batch)).map(([pass, phase]) => [
      `${pass}/${name}`,
      { ...phase, isSmaller: true },
    ]),
  );
  const phases: Record<string, Phase> = {
    ...sharePhases(task),
    ...microbatchPhases(task, buckets, task.batch),
    measure: { inputs: reduced, run: (context) => measure(buckets, context) },
    apply: {
      inputs: { ...reduced, gradNorm: SCALAR, step: SCALAR },
      run: (context) => applyUpdate(task, update, buckets, context),
    },
    ...Object.fromEntries(smaller),
  };
  return {
    name: task.name,
    phases,
    parameters,
    buckets,
    ...trainedState(parameters, update.optimizer.kind, task.isRemote),
    phaseOf: (pass, microbatch) => {
      const variant = variants.find(({ batch }) => fits(batch, microbatch));
      return variant === undefined ? pass : `${pass}/${variant.name}`;
    },
  };
}

/** A phase for every round in which a task shares values; later ones read those of earlier ones. */
function sharePhases({ shared }: TrainTask): Record<SharePhase, Phase> {
  const phases = (shared?.rounds ?? []).map(({ name, batch: own, compute }, round): [SharePhase, Phase] => {
    const inputs = { ...own, ...(round === 0 ? {} : sharedInputs(shared, round)) };
    const run = (context: PhaseContext) => {
      const parameter = (each: string) => context.read(each);
      return { [name]: compute({ batch: batchOf(Object.keys(inputs), context), parameter }) };
    };
    return [`share/${name}`, { inputs, run }];
  });
  return Object.fromEntries(phases);
}

/** What a phase is given of what was shared: the rows of the first rounds, and which of them are the microbatch's own. */
function sharedInputs(shared: TrainTask['shared'], rounds?: number): Readonly<Record<string, TensorSpec>> {
  if (shared === undefined) return {};
  const rows = shared.rounds.slice(0, rounds).map(({ name, width }): [string, TensorSpec] => {
    return [name, { shape: [shared.sequences, width], dtype: 'float32' }];
  });
  return {
    ...Object.fromEntries(rows),
    [SHARED_ROWS]: { shape: [shared.microbatchSize], dtype: 'int32', axes: ['batch'] },
  };
}

/** The phases that take a microbatch of one shape. */
function microbatchPhases(
  task: TrainTask,
  buckets: readonly GradientBucket[],
  batch: TrainTask['batch'],
): Record<MicrobatchPass, Phase> {
  const { remoteExperts } = task;
  const trained = { ...batch, ...sharedInputs(task.shared) };
  const names = Object.keys(trained);
  const trainInputs = { ...trained, ...remoteExperts?.trainInputs };
  return {
    gradients: {
      inputs: trainInputs,
      run: (context) => {
        const { packed, captured } = microbatchGradients(task, buckets, batchOf(names, context), context);
        return { ...packed, ...captured };
      },
    },
    accumulate: {
      inputs: { ...trainInputs, ...bucketInputs(buckets) },
      // Sums so far and new ones would else stand side by side: twice all gradients.
      replaces: buckets.map(({ name }) => name),
      run: (context) => {
        const { packed, captured } = microbatchGradients(task, buckets, batchOf(names, context), context);
        const sums = Object.entries(packed).map(([name, bucket]) => [name, tf.add(bucket, context.input(name))]);
        return { ...Object.fromEntries(sums), ...captured };
      },
    },
    evaluate: {
      inputs: { ...batch, ...remoteExperts?.evaluateInputs },
      run: (context) => evaluate(task, batchOf(Object.keys(batch), context), context),
    },
  };
}

/** Whether a microbatch has arrays of these names and sizes, and no others. */
function fits(batch: TrainTask['batch'], microbatch: Microbatch): boolean {
  const names = Object.keys(microbatch);
  return (
    names.length === Object.keys(batch).length &&
    names.every((name) => batch[name] !== undefined && elementCount(batch[name].shape) === microbatch[name]?.length)
  );
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
  batch: TaskBatch,
  context: PhaseContext,
): MicrobatchGradients {
  const trained = task.parameters.filter(isTrained);
  const names = trained.map(({ name }) => name);
  const weights = names.map((name) => context.read(name));
  const aux = new AuxOutputs();
  const used = new Set<string>();
  const weight = lookup(names, weights);
  const isFrozen = new Set(task.parameters.filter((each) => !isTrained(each)).map(({ name }) => name));
  const parameter = (name: string) => {
    // To the gradient a frozen parameter is a constant, and what lies before the first trained one is not differentiated.
    if (isFrozen.has(name)) return context.read(name);
    used.add(name);
    return weight(name);
  };
  const forward = () => {
    const { objective, lossSum, stats } = task.forward(
      forwardPass(context, aux, { batch, parameter, isTraining: true }),
    );
    aux.capture('lossSum', lossSum);
    if (stats !== undefined) aux.capture('stats', stats);
    return objective;
  };
  // Unlike `tf.valueAndGrads`, this lets parameters be that the forward pass does not use: one, some, or all of them.
  const { grads } = tf.engine().gradients(forward, weights, undefined, true);
  const { lossSum, stats, ...captured } = aux.collect();
  const totals = {
    lossSum: flatten(lossSum ?? refuse('internal', 'the forward pass gave no loss')),
    lossTokens: flatten(task.lossTokens(batch)),
    stats,
  };
  const gradients = trained.map(({ name, shape }, i) => {
    if (used.has(name)) return grads[i] ?? refuse('internal', `the objective has no gradient for ${name}`);
    return tf.fill([...shape], 0);
  });
  return { packed: packBuckets(buckets, lookup(names, gradients), totals), captured };
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
  applyOptimizer(context, optimizer, optimized(parameters), {
    gradient,
    gradientScale: tf.div(clip, lossTokens),
    step,
    factor,
  });
  return { learningRate: tf.mul(factor, optimizer.learningRate) };
}

function evaluate(task: TrainTask, batch: TaskBatch, context: PhaseContext): Record<string, tf.Tensor> {
  const parameter = (name: string) => context.read(name);
  const aux = new AuxOutputs();
  const { lossSum } = task.forward(forwardPass(context, aux, { batch, parameter, isTraining: false }));
  return { lossSum, lossTokens: task.lossTokens(batch), ...aux.collect() };
}

function batchOf(names: readonly string[], context: PhaseContext): TaskBatch {
  return Object.fromEntries(names.map((name) => [name, context.input(name)]));
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
