// Legend: E experts of this worker, C rows of each, D width, F feed-forward width.
import type { RunConfig } from '@weft/config';
import {
  EXPERT_MATRICES,
  type ExpertRange,
  type ExpertWeights,
  expertBackward,
  expertForward,
  expertForwardWithActivations,
  expertParameters,
  expertStackName,
  expertWeightGradients,
  expertWeights,
  moeLayerIndices,
  moeShape,
} from '@weft/model';
import { type TaskParameter, taskParameter } from '@weft/tasks';
import {
  type HostTensor,
  type Phase,
  type PhaseContext,
  type PhaseInputs,
  type ResidentTensor,
  type TensorSpec,
  tf,
} from '@weft/tensor';
import { clipScale } from '../optimizer/adamw.js';
import { applyOptimizer, optimized } from '../optimizer/optimizer.js';
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
  runResident(phase: ExpertPhase, inputs: PhaseInputs): Promise<Record<string, ResidentTensor>>;
}

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
 * - `apply`: the gradients, clipped by the norm of the whole model, in an update of the optimizer under the schedule.
 * - `clear`: gradients back to 0.
 */
export function expertProgram(config: RunConfig, experts: ExpertRange): ExpertProgram {
  const { model, microbatchSize } = config;
  const layers = moeLayerIndices(model.decoder);
  const parameters = expertParameters(model, experts).map((each) => taskParameter(each, config.optimizer));
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
  const { state: trained, layout } = trainedState(parameters, config.optimizer.kind, () => true);
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
  const { outputs_ECD, gate_ECF, up_ECF } = expertForwardWithActivations(
    weightsOf(context, layer),
    context.input('rows'),
  );
  return { outputs: outputs_ECD, gate: gate_ECF, up: up_ECF };
}

function backward(context: PhaseContext, layer: number): Record<string, tf.Tensor> {
  const activations = { gate_ECF: context.input('gate'), up_ECF: context.input('up') };
  const { dTokens_ECD, hidden_ECF, dGate_ECF, dUp_ECF } = expertBackward(
    weightsOf(context, layer),
    activations,
    context.input('outputGradients'),
  );
  return { rowGradients: dTokens_ECD, hidden: hidden_ECF, gateGradients: dGate_ECF, upGradients: dUp_ECF };
}

function accumulate(context: PhaseContext, layer: number): Record<string, tf.Tensor> {
  const gradients = expertWeightGradients(context.input('rows'), context.input('outputGradients'), {
    hidden_ECF: context.input('hidden'),
    dGate_ECF: context.input('gateGradients'),
    dUp_ECF: context.input('upGradients'),
  });
  for (const matrix of EXPERT_MATRICES) {
    const name = gradientOf(expertStackName(layer, matrix));
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
  const clip = clipScale(context.input('gradNorm'), optimizer.clipNorm);
  const step = context.input('step');
  applyOptimizer(context, optimizer, optimized(parameters), {
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
