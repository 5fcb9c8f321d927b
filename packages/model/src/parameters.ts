import { recomputable, type tf } from '@weft/tensor';

/** How a parameter starts: seeded normal numbers with mean 0, or one value everywhere. */
export type Initial =
  | { readonly kind: 'normal'; readonly stddev: number }
  | { readonly kind: 'constant'; readonly value: number };

/** One trainable array: what it is called, how large it is, how it starts, whether it decays. */
export interface ParameterSpec {
  /** A path such as `decoder/layers/0/attention/query`; unique within the model. */
  readonly name: string;
  readonly shape: readonly number[];
  readonly init: Initial;
  /** False for norms, biases and learned positions. */
  readonly weightDecay: boolean;
  /** For stacked experts: the number of the first one, when the stack does not begin with expert 0. */
  readonly firstExpert?: number;
}

/** Finds a parameter's tensor by its name. */
export type Parameters = (name: string) => tf.Tensor;

/** The standard deviation of every matrix that nothing else is said about. */
export const INITIAL_STDDEV = 0.02;

/**
 * The smaller start of a projection that writes into the residual stream, 0.02/√(2·depth), so that the
 * stream's variance does not grow with the number of layers, each of which writes twice (GPT-2).
 */
export function residualStddev(depth: number): number {
  return INITIAL_STDDEV / Math.sqrt(2 * depth);
}

/** A matrix or kernel that decays. */
export function weight(name: string, shape: readonly number[], stddev = INITIAL_STDDEV): ParameterSpec {
  return { name, shape, init: { kind: 'normal', stddev }, weightDecay: true };
}

/** A table of learned positions: starts like a matrix, does not decay. */
export function positionTable(name: string, shape: readonly number[]): ParameterSpec {
  return { name, shape, init: { kind: 'normal', stddev: INITIAL_STDDEV }, weightDecay: false };
}

/** A norm's scale; starts at 1. */
export function gain(name: string, width: number): ParameterSpec {
  return { name, shape: [width], init: { kind: 'constant', value: 1 }, weightDecay: false };
}

/** Something added; starts at 0. */
export function bias(name: string, width: number): ParameterSpec {
  return { name, shape: [width], init: { kind: 'constant', value: 0 }, weightDecay: false };
}

/** Declares a block's parameters under a path: the twin of `within`. */
export function under(path: string, specs: readonly ParameterSpec[]): readonly ParameterSpec[] {
  return specs.map((spec) => ({ ...spec, name: `${path}/${spec.name}` }));
}

/** A block's view of the parameters that were declared `under` the same path. */
export function within(parameters: Parameters, path: string): Parameters {
  return (name) => parameters(`${path}/${name}`);
}

/** Declares `depth` equal blocks under `layers/0`, `layers/1` and so on. */
export function repeated(depth: number, specs: readonly ParameterSpec[]): readonly ParameterSpec[] {
  return inLayers(depth, () => specs);
}

/** Declares `depth` blocks under `layers/0`, `layers/1` and so on, each with parameters of its own. */
export function inLayers(
  depth: number,
  specsOf: (layer: number) => readonly ParameterSpec[],
): readonly ParameterSpec[] {
  return Array.from({ length: depth }, (_, layer) => under(`layers/${layer}`, specsOf(layer))).flat();
}

/** Passes `x` through `depth` blocks declared with `repeated` or `inLayers`, each of which may be recomputed. */
export function throughLayers(
  x: tf.Tensor,
  parameters: Parameters,
  depth: number,
  block: (x: tf.Tensor, parameters: Parameters, layer: number) => tf.Tensor,
): tf.Tensor {
  let y = x;
  for (let layer = 0; layer < depth; layer++) {
    const before = y;
    y = recomputable(() => block(before, within(parameters, `layers/${layer}`), layer));
  }
  return y;
}
