import { join } from 'node:path';
import { writeShard } from '@weft/checkpoint';
import { Random } from '@weft/common';
import type { ModelConfig, MoeConfig, Precision } from '@weft/config';
import { type ExpertWeights, expertForward, MoeLayers } from '@weft/model';
import { recipe } from '@weft/recipes';
import { elementCount, type Program, type TensorSpec, tf } from '@weft/tensor';

/** The sizes of a measured MoE layer. */
export interface LayerSize {
  readonly name: string;
  /** Tokens of a microbatch, all in one group. */
  readonly tokens: number;
  readonly width: number;
  readonly hidden: number;
  readonly experts: number;
  readonly capacityFactor: number;
}

export const LAYER_SIZES: readonly LayerSize[] = [
  { name: 'moe-256', tokens: 1024, width: 256, hidden: 768, experts: 8, capacityFactor: 2 },
  { name: 'moe-512', tokens: 2048, width: 512, hidden: 1408, experts: 8, capacityFactor: 2 },
];

/** One comparison: all candidates compute the same layer with the same resources. */
export interface LayerCase {
  readonly size: LayerSize;
  readonly precision: Precision;
  readonly threads: number;
}

/** The routing of a measured layer, the same for all candidates. */
export function moeConfig({ experts, capacityFactor }: LayerSize): MoeConfig {
  return {
    experts,
    everyLayers: 1,
    capacityFactor,
    groupSize: 0,
    loadBalanceWeight: 0.01,
    routerZWeight: 0.001,
    jitter: 0,
    exchangePrecision: 'fp32',
  };
}

/** A model with this layer; nothing else of it is used. */
function modelWith(size: LayerSize): ModelConfig {
  const { model } = recipe('mm1Tiny');
  const { width, hidden: feedForwardWidth } = size;
  return { ...model, decoder: { ...model.decoder, depth: 1, width, feedForwardWidth, moe: moeConfig(size) } };
}

/** Floating point operations of forward and backward: three matrix products of every expert over all its slots. */
export function layerFlops({ tokens, width, hidden, experts, capacityFactor }: LayerSize): number {
  const slots = experts * Math.floor((tokens * capacityFactor) / experts);
  return 3 * 2 * slots * 3 * width * hidden;
}

/** The argument of a measured process, as JSON; the same for ours and the peers in Python. */
export interface LayerSpec {
  readonly size: LayerSize;
  readonly moe: MoeConfig;
  readonly precision: Precision;
  readonly threads: number;
  /** The safetensors file of what the layer reads: its input, its weights, and `direction`, the output's gradient. */
  readonly fixture: string;
  /** For peers that know several ways: `loop`, `batched`, `compiled`. */
  readonly mode: string;
}

// The messages, one JSON object a line: the process sends `LayerReady` after its first step, then answers `Round`
// with `RoundResult` (bench/src/candidate-spec.ts) until `{ "end": true }` arrives.

/** The results of a layer: its output and the gradients of ⟨output, direction⟩ + auxiliary losses. */
export const RESULTS = ['output', 'input', 'router', 'gate', 'up', 'down'] as const;
export type Result = (typeof RESULTS)[number];

/** A tensor in three numbers: its length as a vector, and its projections on two waves of different frequencies. */
export interface Fingerprint {
  readonly norm: number;
  readonly projections: readonly [number, number];
}

export interface LayerReady {
  readonly engine: string;
  readonly results: Readonly<Record<Result, Fingerprint>>;
}

// Legend: R tokens, D width, E experts, F feed-forward width.

/** What the layer is differentiated by, in this order. */
export const DIFFERENTIATED = ['input', 'router', 'gate', 'up', 'down'] as const;

/** The shapes of everything a fixture holds: the layer's input and weights, and the direction of its gradient. */
function layerShapes({ tokens, width, hidden, experts }: LayerSize) {
  return {
    input: [tokens, width],
    router: [width, experts],
    gate: [experts, width, hidden],
    up: [experts, width, hidden],
    down: [experts, hidden, width],
    direction: [tokens, width],
  } as const;
}

/** One MoE layer, forwards and backwards; its output and gradients stay in the engine, as they would in training. */
export function layerProgram(size: LayerSize): Program {
  const model = modelWith(size);
  const float = (shape: readonly number[]): TensorSpec => ({ shape, dtype: 'float32' });
  const shapes = layerShapes(size);
  const resident = Object.entries(shapes).map(([name, shape]) => [name, float(shape)] as const);
  const results = DIFFERENTIATED.map((name) => [`gradient/${name}`, float(shapes[name])] as const);
  return {
    name: size.name,
    state: Object.fromEntries([...resident, ...results, ['output', float(shapes.input)]]),
    phases: {
      step: {
        inputs: {},
        run: ({ read, assign }) => {
          const lossMask_BT = tf.ones([1, size.tokens]);
          const ids_BT = tf.cast(lossMask_BT, 'int32');
          const batch = { tokenIds_BT: ids_BT, segmentIds_BT: ids_BT, lossMask_BT };
          const layer = (...[x_RD, router_DE, gate_EDF, up_EDF, down_EFD]: tf.Tensor[]) => {
            const weights = { gate_EDF, up_EDF, down_EFD } as ExpertWeights;
            const moe = new MoeLayers(model, batch, (_, tokens_ECD) => expertForward(weights, tokens_ECD));
            const output_RD = moe.feedForward(0, x_RD as tf.Tensor, router_DE as tf.Tensor);
            assign('output', tf.keep(output_RD));
            return tf.add(tf.sum(tf.mul(output_RD, read('direction'))), moe.auxiliaryLoss()) as tf.Scalar;
          };
          const { value, grads } = tf.valueAndGrads(layer)(DIFFERENTIATED.map((name) => read(name)));
          DIFFERENTIATED.forEach((name, i) => {
            assign(`gradient/${name}`, grads[i] as tf.Tensor);
          });
          return { objective: value };
        },
      },
    },
  };
}

/** Deviations of the fixture's normal numbers: those of a layer in training. */
const DEVIATION = { input: 1, direction: 1, router: 0.1, gate: 0.05, up: 0.05, down: 0.05 } as const;

/**
 * Writes what every candidate of a size starts from into one safetensors file of float32 values.
 * @returns the file's path
 */
export async function writeLayerFixture(directory: string, size: LayerSize): Promise<string> {
  const tensors = Object.entries(layerShapes(size)).map(([name, shape]) => {
    const random = Random.of('moe layer', size.name, name);
    const deviation = DEVIATION[name as keyof typeof DEVIATION];
    const data = Float32Array.from({ length: elementCount(shape) }, () => deviation * random.normal());
    return { name, shape, data };
  });
  const file = await writeShard({ directory: join(directory, size.name), rank: 0, worldSize: 1, tensors });
  return join(directory, size.name, file.name);
}
