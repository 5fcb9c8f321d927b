// Legend: B sequences of a microbatch, T positions, S sources.
import type { PerSource, SourceId } from '@weft/common';
import { type TensorSpec, tf } from '@weft/tensor';
import type { BatchSpecs } from './train-task.js';

/**
 * The loss of each source of a language model. A microbatch says which source each of its sequences is of; the sums ride behind
 * the gradients with other statistics of the task: first the loss of each source, then its text tokens.
 */
export class SourceLoss {
  readonly #sources: readonly SourceId[];

  constructor(sources: readonly SourceId[]) {
    this.#sources = sources;
  }

  /** Elements of `sums`. */
  get statsLength(): number {
    return 2 * this.#sources.length;
  }

  /** What a microbatch has beside the arrays of the model. */
  batchSpecs(microbatchSize: number): BatchSpecs {
    const spec: TensorSpec = { shape: [microbatchSize], dtype: 'int32', axes: ['batch'] };
    return { [SOURCES]: spec };
  }

  /** The array of a microbatch. @param rows the source of each sequence; what comes after them is padding, which has no loss */
  arrays(rows: readonly SourceId[], microbatchSize: number): Readonly<Record<typeof SOURCES, Int32Array>> {
    const numbers = new Int32Array(microbatchSize);
    for (const [row, source] of rows.entries()) numbers[row] = this.#sources.indexOf(source);
    return { [SOURCES]: numbers };
  }

  /**
   * @param sources_B as `arrays` has them
   * @param loss_R the loss at every position, [B·T]
   * @param lossMask_BT 1 where there is a target
   */
  sums(sources_B: tf.Tensor, loss_R: tf.Tensor, lossMask_BT: tf.Tensor): tf.Tensor1D {
    const numbers_1S = tf.tensor2d([this.#sources.map((_, number) => number)], undefined, 'int32');
    const isOf_BS = tf.cast(tf.equal(tf.expandDims(sources_B, 1), numbers_1S), 'float32');
    const bySource = (values_BT: tf.Tensor) => tf.sum(tf.mul(isOf_BS, tf.sum(values_BT, 1, true)), 0);
    return tf.concat1d([bySource(tf.reshape(loss_R, lossMask_BT.shape)), bySource(lossMask_BT)] as tf.Tensor1D[]);
  }

  /** The mean loss of each source that has text tokens. @param sums `statsLength` elements, of the whole step */
  read(sums: ArrayLike<number>): PerSource<number> {
    const count = this.#sources.length;
    return Object.fromEntries(
      this.#sources.flatMap((source, number) => {
        const tokens = sums[count + number] ?? 0;
        return tokens > 0 ? [[source, (sums[number] ?? 0) / tokens]] : [];
      }),
    );
  }
}

/** In a microbatch: the number of the source of each sequence. */
export const SOURCES = 'sources_B';
