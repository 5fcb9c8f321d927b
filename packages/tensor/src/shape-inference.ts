import type { RecordedOp, ValueInfo } from './recording.js';

/**
 * Tells the shapes and element types of what recorded ops compute, without computing anything. A backend implements it;
 * one instance follows one recording, op by op in the order in which they are recorded.
 */
export interface ShapeInference {
  /**
   * The outputs of the next op, whose inputs are outputs of earlier ones. The results of Weft's own ops come as
   * `Placeholder`s.
   *
   * @param constant shape and type of a `Const`, whose bytes are its `constantValue`
   * @throws WeftError `internal` when the op is unknown, its inputs do not fit, or an output has no static shape.
   */
  outputsOf(op: RecordedOp, constant?: ValueInfo): readonly ValueInfo[];
  dispose(): void;
}
