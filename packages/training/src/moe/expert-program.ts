// Legend: E experts of this worker, C rows of each, D width, F feed-forward width.
import type { RunConfig } from '@weft/config';
import {
  type ExpertRange,
  type ExpertWeights,
  expertForward,
  expertParameters,
  expertWeights,
  moeLayers,
  moeShape,
} from '@weft/model';
import { type TaskParameter, taskParameter } from '@weft/tasks';
import { type HostTensor, type Phase, type PhaseContext, type PhaseInputs, type TensorSpec, tf } from '@weft/tensor';
import { adamwApply, clipScale } from '../optimizer/adamw.js';
import { scheduleFactor } from '../optimizer/schedule.js';
import { type StatefulProgram, trainedState } from '../state.js';

/** An expert worker as a program: its experts of every MoE layer, their moments, and the gradients of the step so far. */
export interface ExpertProgram extends StatefulProgram {
  /** The decoder layers that have experts, ascending. */
  readonly layers: readonly number[];
  /** [E, C, D], what a rank sends for one microbatch and layer, and gets back. */
  readonly rows: TensorSpec;
}

/** `<pass>/<layer>` works on the experts of one layer, the others on all of them; see `expertProgram`. */
export type ExpertPhase = `${LayerPass}/${number}` | 'squaredNorm' | 'apply' | 'clear';
type LayerPass = 'forward' | 'backward' | 'accumulate' | 'evaluate';

/** An executor of an expert program. Every `Executor` is one; this one knows the names of the phases. */
export interface ExpertExecutor {
  run(phase: ExpertPhase, inputs: PhaseInputs): Promise<Record<string, HostTensor>>;
}

/** The matrices of an expert; each has a gradient that is added up over the step. */
const MATRICES = ['gate', 'up', 'down'] as const;

/**
 * For every MoE layer l:
 * - `forward/l`: `rows` → `outputs`, and `gate`, `up` for the backward pass.
 * - `backward/l`: `outputGradients`, `gate`, `up` → `rowGradients`, the answer, and `hidden`, `gateGradients`,
 *   `upGradients` for the sums.
 * - `accumulate/l`: those, `rows` and `outputGradients` → added to the gradients of the weights.
 * - `evaluate/l`: `rows` → `outputs`, nothing for a backward pass.
 *
 * For all of them:
 * - `squaredNorm` of the gradients so far.
 * - `apply`: the gradients, clipped by the norm of the whole model, in an AdamW update under the schedule.
 * - `clear`: gradients back to 0.
 */
export function expertProgram(config: RunConfig, experts: ExpertRange): ExpertProgram {
  const { model, microbatchSize } = config;
  const layers = moeLayers(model.decoder);
  const parameters = expertParameters(model, experts).map(taskParameter);
  const { slots } = moeShape(model, microbatchSize);
  const rows = spec([experts.end - experts.first, slots, model.decoder.width]);
  const hidden = spec([experts.end - experts.first, slots, model.decoder.feedForwardWidth]);
  const ofLayer = (layer: number): Readonly<Record<string, Phase>> => ({
    [expertPhase('evaluate', layer)]: {
      inputs: { rows },
      run: (context) => ({ outputs: expertForward(weightsOf(context, layer), context.input('rows')) }),
    },
    [expertPhase('forward', layer)]: { inputs: { rows }, run: (context) => forward(context, layer) },
    [expertPhase('backward', layer)]: {
      inputs: { outputGradients: rows, gate: hidden, up: hidden },
      run: (context) => backward(context, layer),
    },
    [expertPhase('accumulate', layer)]: {
      inputs: { rows, outputGradients: rows, hidden, gateGradients: hidden, upGradients: hidden },
      run: (context) => accumulate(context, layer),
    },
  });
  const scalar = spec([]);
  const phases: Record<ExpertPhase, Phase> = {
    ...Object.assign({}, ...layers.map(ofLayer)),
    squaredNorm: { inputs: {}, run: (context) => ({ squaredNorm: squaredNorm(context, parameters) }) },
    apply: {
      inputs: { gradNorm: scalar, lossTokens: scalar, step: scalar },
      run: (context) => applyUpdate(context, config, parameters),
    },
    clear: { inputs: {}, run: (context) => clear(context, parameters) },
  };
  const { state: trained, layout } = trainedState(parameters, () => true);
  const gradients = Object.fromEntries(parameters.map(({ name, shape }) => [gradientOf(name), spec(shape)]));
  const state = { ...trained, ...gradients };
  return { name: `experts of ${config.recipe}`, state, phases, parameters, layout, layers, rows };
}

/** The name of a phase that works on the experts of one layer. */
export function expertPhase(pass: LayerPass, layer: number): ExpertPhase {
  return `${pass}/${layer}`;
}

/** Where the gradient of a parameter is added up; no checkpoint holds it. */
export function gradientOf(parameter: string): string {
  return `gradient/${parameter}`;
}

function spec(shape: readonly number[]): TensorSpec {
  return { shape, dtype: 'float32' };
}

function weightsOf(context: PhaseContext, layer: number): ExpertWeights {
  return expertWeights((name) => context.read(name), layer);
}

function forward(context: PhaseContext, layer: number): Record<string, tf.Tensor> {
  const { gate_EDF, up_EDF, down_EFD } = weightsOf(context, layer);
  const rows_ECD = context.input('rows');
  const gate_ECF = tf.matMul(rows_ECD, gate_EDF);
  const up_ECF = tf.matMul(rows_ECD, up_EDF);
  const hidden_ECF = tf.mul(tf.mul(gate_ECF, tf.sigmoid(gate_ECF)), up_ECF);
  return { outputs: tf.matMul(hidden_ECF, down_EFD), gate: gate_ECF, up: up_ECF };
}

/** With g = x·gate, u = x·up, s = sigmoid(g): h = g·s·u, dg = dh·u·s·(1 + g·(1 − s)), du = dh·g·s. */
function backward(context: PhaseContext, layer: number): Record<string, tf.Tensor> {
  const { gate_EDF, up_EDF, down_EFD } = weightsOf(context, layer);
  const [gate_ECF, up_ECF] = [context.input('gate'), context.input('up')];
  const sigmoid_ECF = tf.sigmoid(gate_ECF);
  const silu_ECF = tf.mul(gate_ECF, sigmoid_ECF);
  const dHidden_ECF = tf.matMul(context.input('outputGradients'), down_EFD, false, true);
  const slope_ECF = tf.add(sigmoid_ECF, tf.mul(silu_ECF, tf.sub(1, sigmoid_ECF)));
  const dGate_ECF = tf.mul(tf.mul(dHidden_ECF, up_ECF), slope_ECF);
  const dUp_ECF = tf.mul(dHidden_ECF, silu_ECF);
  return {
    rowGradients: tf.add(tf.matMul(dGate_ECF, gate_EDF, false, true), tf.matMul(dUp_ECF, up_EDF, false, true)),
    hidden: tf.mul(silu_ECF, up_ECF),
    gateGradients: dGate_ECF,
    upGradients: dUp_ECF,
  };
}

function accumulate(context: PhaseContext, layer: number): Record<string, tf.Tensor> {
  const rows_ECD = context.input('rows');
  const gradients = {
    gate: tf.matMul(rows_ECD, context.input('gateGradients'), true),
    up: tf.matMul(rows_ECD, context.input('upGradients'), true),
    down: tf.matMul(context.input('hidden'), context.input('outputGradients'), true),
  };
  for (const matrix of MATRICES) {
    const name = gradientOf(`decoder/layers/${layer}/experts/${matrix}`);
    context.assign(name, tf.add(context.read(name), gradients[matrix]));
  }
  return {};
}

function squaredNorm(context: PhaseContext, parameters: readonly TaskParameter[]): tf.Tensor {
  return tf.addN(parameters.map(({ name }) => tf.sum(tf.square(context.read(gradientOf(name))))));
}

function applyUpdate(
  context: PhaseContext,
  { optimizer, steps }: RunConfig,
  parameters: readonly TaskParameter[],
): Record<string, tf.Tensor> {
  const clip = clipScale(context.input('gradNorm') as tf.Scalar, optimizer.clipNorm);
  const step = context.input('step') as tf.Scalar;
  adamwApply(context, optimizer, parameters, {
    gradient: (name) => context.read(gradientOf(name)),
    gradientScale: tf.div(clip, context.input('lossTokens')),
    step,
    factor: scheduleFactor(optimizer, steps, step),
  });
  return {};
}

function clear(context: PhaseContext, parameters: readonly TaskParameter[]): Record<string, tf.Tensor> {
  for (const { name, shape } of parameters) context.assign(gradientOf(name), tf.zeros([...shape]));
  return {};
}
