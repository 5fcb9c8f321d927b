import type { tf } from './tf.js';

/**
 * What an axis of an array counts, for a mesh of devices that cuts arrays by it. `embed` is the axis of a weight along
 * the residual stream.
 */
export type LogicalAxis = 'batch' | 'embed' | 'heads' | 'mlp' | 'vocabulary' | 'expert';

/** The meaning of every axis of an array, in order; null for one that is never cut. */
export type LogicalAxes = readonly (LogicalAxis | null)[];

/** Shape and element type of a tensor that crosses the border of a phase. */
export interface TensorSpec {
  readonly shape: readonly number[];
  readonly dtype: 'float32' | 'int32';
  /** Default: no axis is ever cut. */
  readonly axes?: LogicalAxes | undefined;
}

/** What a phase sees while it runs, recorded or eagerly. */
export interface PhaseContext {
  /** A value fed by the caller of this phase. */
  input(name: string): tf.Tensor;
  /** A resident variable as it was when the phase began. */
  read(name: string): tf.Tensor;
  /** The variable's value for later phases; at most once a phase and variable. */
  assign(name: string, value: tf.Tensor): void;
}

/**
 * One entry point of a program: an ordinary tfjs function over its inputs and the resident state.
 * It must be free of host reads and its shapes must be static, so that it can be recorded.
 */
export interface Phase {
  readonly inputs: Readonly<Record<string, TensorSpec>>;
  /** Whether another phase does the same with larger inputs: this one then never needs more memory. Default: no. */
  readonly isSmaller?: boolean;
  /**
   * Inputs whose memory the output of the same name and shape takes over: a resident tensor that is given for one is used up,
   * and may only be disposed. Default: none.
   */
  readonly replaces?: readonly string[];
  /** Returns the phase's outputs by name. */
  readonly run: (context: PhaseContext) => Readonly<Record<string, tf.Tensor>>;
}

/** Resident state and the phases that work on it. */
export interface Program {
  readonly name: string;
  readonly state: Readonly<Record<string, TensorSpec>>;
  readonly phases: Readonly<Record<string, Phase>>;
}

/** Number of elements of a shape. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, dimension) => product * dimension, 1);
}
