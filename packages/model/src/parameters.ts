import { type LogicalAxes, type LogicalAxis, recomputable, type tf } from '@weft/tensor';

/** How a parameter starts: seeded normal numbers with mean 0, or one value everywhere. */
type Initial =
  | { readonly kind: 'normal'; readonly stddev: number }
  | { readonly kind: 'constant'; readonly value: number };

/** One trainable array: its name, its shape, what its axes mean, how it starts, and whether weight decay applies. */
export interface ParameterSpec {
  /** A path such as `decoder/layers/0/attention/query`; unique within the model, and the name in checkpoints. */
  readonly name: string;
  readonly shape: readonly number[];
  /** What each axis counts: a mesh of devices cuts the array by it. */
  readonly axes: LogicalAxes;
  readonly init: Initial;
  /** False for norms, biases and learned positions. */
  readonly weightDecay: boolean;
  /** For a stack of experts: the id of its first one. Default: 0. */
  readonly firstExpert?: number;
}

/** Finds a parameter's tensor by its name. */
export type Parameters = (name: string) => tf.Tensor;

/** The standard deviation of a matrix unless its declaration names another, as in GPT-2. */
const INITIAL_STDDEV = 0.02;

/**
 * The smaller standard deviation of projections that write into the residual stream, 0.02/√(2·depth). Each of the
 * layers adds to the stream twice; without it the stream's variance would grow with depth (Radford et al., 2019, GPT-2).
 */
export function residualStddev(depth: number): number {
  return INITIAL_STDDEV / Math.sqrt(2 * depth);
}

/** Declares a matrix or convolution kernel, with weight decay. */
export function weight(
  name: string,
  shape: readonly number[],
  axes: LogicalAxes,
  stddev = INITIAL_STDDEV,
): ParameterSpec {
  return { name, shape, axes, init: { kind: 'normal', stddev }, weightDecay: true };
}

/** Declares a table of learned positions, [positions, width]: starts like a matrix, has no weight decay. */
export function positionTable(name: string, shape: readonly [number, number]): ParameterSpec {
  return { name, shape, axes: [null, 'embed'], init: { kind: 'normal', stddev: INITIAL_STDDEV }, weightDecay: false };
}

/** Declares a learned vector, such as a class token: starts like a matrix, has no weight decay. */
export function vector(name: string, width: number): ParameterSpec {
  return { name, shape: [width], axes: [null], init: { kind: 'normal', stddev: INITIAL_STDDEV }, weightDecay: false };
}

/** Declares the scale of a norm, one factor per channel; starts at 1. */
export function normScale(name: string, width: number): ParameterSpec {
  return { name, shape: [width], axes: [null], init: { kind: 'constant', value: 1 }, weightDecay: false };
}

/** Declares a bias; starts at 0. */
export function bias(name: string, width: number, axis: LogicalAxis | null = null): ParameterSpec {
  return { name, shape: [width], axes: [axis], init: { kind: 'constant', value: 0 }, weightDecay: false };
}

/** Declares a block's parameters below a path; `scope` is how the block then reads them. */
export function prefix(path: string, specs: readonly ParameterSpec[]): readonly ParameterSpec[] {
  return specs.map((spec) => ({ ...spec, name: `${path}/${spec.name}` }));
}

/** A block's view of the parameters that `prefix` declared below the same path. */
export function scope(parameters: Parameters, path: string): Parameters {
  return (name) => parameters(`${path}/${name}`);
}

/** The path of a layer, below the network it belongs to. */
export function layerPath(layer: number): string {
  return `layers/${layer}`;
}

/** Declares `depth` blocks below `layers/0`, `layers/1` and so on. */
export function prefixLayers(
  depth: number,
  layerSpecs: (layer: number) => readonly ParameterSpec[],
): readonly ParameterSpec[] {
  return Array.from({ length: depth }, (_, layer) => prefix(layerPath(layer), layerSpecs(layer))).flat();
}

/**
 * Passes `x` through `depth` blocks declared with `prefixLayers`. The borders between blocks are where activation
 * checkpointing cuts: it keeps each block's input and recomputes the rest in the backward pass.
 */
export function applyLayers(
  x: tf.Tensor,
  parameters: Parameters,
  depth: number,
  block: (x: tf.Tensor, parameters: Parameters, layer: number) => tf.Tensor,
): tf.Tensor {
  let y = x;
  for (let layer = 0; layer < depth; layer++) {
    const before = y;
    y = recomputable(() => block(before, scope(parameters, layerPath(layer)), layer));
  }
  return y;
}
