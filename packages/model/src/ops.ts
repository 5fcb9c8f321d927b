// Legend: R rows (every leading dimension in one), I input width, O output width, D width, F feed-forward width,
// M rows of a table, N images, P cells of a grid (G a side), K pooled cells (S a side), C channels.
import { WeftError } from '@weft/common';
import { customGradient, type LogicalAxis, tf } from '@weft/tensor';
import { bias, type ParameterSpec, type Parameters, weight } from './parameters.js';

/**
 * The parameters of `linear`: `kernel` [I, O] and `bias` [O].
 * @param axes of the kernel
 */
export function linearParameters(
  input: number,
  output: number,
  axes: readonly [LogicalAxis | null, LogicalAxis | null],
  stddev?: number,
): readonly ParameterSpec[] {
  // Along the residual stream biases stay whole, as norms do: gathering one costs more than its memory.
  const biasAxis = axes[1] === 'embed' ? null : axes[1];
  return [weight('kernel', [input, output], axes, stddev), bias('bias', output, biasAxis)];
}

/** x·kernel + bias, on rows: [R, I] → [R, O]. */
export function linear(x_RI: tf.Tensor, p: Parameters): tf.Tensor {
  return tf.add(tf.matMul(x_RI, p('kernel')), p('bias'));
}

/** The parameters of `swiglu`: `gate` [D, F], `up` [D, F] and `down` [F, D]. */
export function swigluParameters(
  width: number,
  feedForwardWidth: number,
  downStddev: number,
): readonly ParameterSpec[] {
  return [
    weight('gate', [width, feedForwardWidth], ['embed', 'mlp']),
    weight('up', [width, feedForwardWidth], ['embed', 'mlp']),
    weight('down', [feedForwardWidth, width], ['mlp', 'embed'], downStddev),
  ];
}

/**
 * The gated feed-forward layer, (silu(x·gate) ⊙ x·up)·down, on rows: [R, D] → [R, D] (Shazeer, 2020, "GLU Variants
 * Improve Transformer"). One product proposes F features, the other decides how much of each passes.
 */
export function swiglu(x_RD: tf.Tensor, p: Parameters): tf.Tensor {
  const gated_RF = tf.mul(silu(tf.matMul(x_RD, p('gate'))), tf.matMul(x_RD, p('up')));
  return tf.matMul(gated_RF, p('down'));
}

/**
 * y = x·sigmoid(x), element by element (Elfwing et al., 2018).
 *
 * The gradient dy·(sigmoid(x)·(1 − y) + y) is written so that the sigmoid appears once, as a factor: the engine then
 * fuses sigmoid and product into one pass over memory.
 */
export function silu(x: tf.Tensor): tf.Tensor {
  return customGradient(
    [x],
    () => {
      const y = tf.mul(x, tf.sigmoid(x));
      return { value: y, saved: { x, y } };
    },
    (dy, { x, y }) => {
      const dyTimesY = tf.mul(dy, y);
      return [tf.add(dyTimesY, tf.mul(tf.sub(dy, dyTimesY), tf.sigmoid(x)))];
    },
  );
}

/** The coefficients of a fraction t = 1/(1 + p·z) in an approximation of erf(z) (Abramowitz and Stegun, 7.1.26). */
const ERF_P = 0.3275911;
const ERF_TERMS = [0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429] as const;

/**
 * y = x·Φ(x), with Φ the distribution function of the normal distribution, element by element (Hendrycks and Gimpel,
 * 2016). No op of the engines gives Φ, so its smaller tail, 1 − Φ(|x|), is a polynomial times exp(−x²/2), exact to 1e-7;
 * the gradient is Φ(x) + x·φ(x).
 */
export function gelu(x: tf.Tensor): tf.Tensor {
  return customGradient(
    [x],
    () => ({ value: tf.sub(tf.maximum(x, 0), tf.mul(magnitude(x), normalTail(x).tail)), saved: { x } }),
    (dy, { x }) => {
      const { tail, bell } = normalTail(x);
      const isPositive = tf.cast(tf.greaterEqual(x, 0), 'float32');
      // Φ(x) is the tail where x is negative, and 1 − tail where it is not.
      const below = tf.add(tail, tf.mul(isPositive, tf.sub(1, tf.mul(tail, 2))));
      return [tf.mul(dy, tf.add(below, tf.mul(x, tf.mul(bell, 1 / Math.sqrt(2 * Math.PI)))))];
    },
  );
}

/** `bell`: exp(−x²/2). `tail`: 1 − Φ(|x|), from 0.5 down to 0. */
function normalTail(x: tf.Tensor): { readonly tail: tf.Tensor; readonly bell: tf.Tensor } {
  const bell = tf.exp(tf.mul(tf.square(x), -0.5));
  const t = tf.div(1, tf.add(1, tf.mul(magnitude(x), ERF_P / Math.SQRT2)));
  const polynomial = ERF_TERMS.toReversed().reduce<tf.Tensor | undefined>(
    (sum, term) => tf.mul(t, sum === undefined ? term : tf.add(sum, term)),
    undefined,
  );
  return { tail: tf.mul(tf.mul(polynomial ?? t, 0.5), bell), bell };
}

/** |x|. */
function magnitude(x: tf.Tensor): tf.Tensor {
  return tf.maximum(x, tf.neg(x));
}

/**
 * Rows of a table by index: [M, D], [R] → [R, D]. A negative index gives a row of zeros and no gradient, so a text
 * position can look up image tokens, and an image position text tokens, without touching the wrong table.
 *
 * The gradient is one segment sum, which ignores negative indices. tfjs's own gradient of `gather` would add them to
 * row 0, and transpose on the way.
 * @param rows_R int32, below M; a larger index is an error of the caller
 */
export function takeRows(table_MD: tf.Tensor, rows_R: tf.Tensor): tf.Tensor {
  const [rowCount] = sizes(table_MD, 2);
  return customGradient(
    [table_MD],
    () => {
      const flatRows_R = tf.reshape<tf.Rank.R1>(rows_R, [rows_R.size]);
      const taken_RD = tf.gather(table_MD, tf.maximum<tf.Tensor1D>(flatRows_R, tf.scalar(0, 'int32')));
      const isRow_R1 = tf.expandDims(tf.cast(tf.greaterEqual(flatRows_R, tf.scalar(0, 'int32')), 'float32'), 1);
      return { value: tf.mul(taken_RD, isRow_R1), saved: { flatRows_R } };
    },
    (dTaken_RD, { flatRows_R }) => [tf.unsortedSegmentSum(dTaken_RD, flatRows_R, rowCount)],
  );
}

/**
 * Adaptive average pooling of a square grid: [N, P, C] → [N, K, C].
 * Cell i of a side averages cells ⌊i·G/S⌋ up to, not including, ⌈(i+1)·G/S⌉, as PyTorch's `AdaptiveAvgPool2d` does: the
 * bins overlap where S does not divide G (27 → 12) and are plain squares where it does.
 * @param side S, at most G; 1 gives the mean over the whole grid
 */
export function poolGrid(grid_NPC: tf.Tensor, side: number): tf.Tensor {
  const [, cells] = sizes(grid_NPC, 3);
  // One product with a constant matrix; its gradient is another product, and overlapping bins need no special case.
  return tf.matMul(poolingMatrix(Math.sqrt(cells), side), grid_NPC);
}

/** The matrix [S², G²] whose row averages the grid cells of one pooled cell. */
function poolingMatrix(gridSide: number, side: number): tf.Tensor2D {
  const bins = Array.from({ length: side }, (_, i) => ({
    first: Math.floor((i * gridSide) / side),
    end: Math.ceil(((i + 1) * gridSide) / side),
  }));
  const shares_KP = new Float32Array(side ** 2 * gridSide ** 2);
  bins.forEach((rows, cellRow) => {
    bins.forEach((columns, cellColumn) => {
      const share = 1 / ((rows.end - rows.first) * (columns.end - columns.first));
      const cell = cellRow * side + cellColumn;
      for (let row = rows.first; row < rows.end; row++) {
        const start = cell * gridSide ** 2 + row * gridSide;
        shares_KP.fill(share, start + columns.first, start + columns.end);
      }
    });
  });
  return tf.tensor2d(shares_KP, [side ** 2, gridSide ** 2]);
}

/** Computes a tensor that is a constant to the gradient: indices and counts, through which no gradient flows. */
export function stopGradient<Value extends tf.Tensor>(compute: () => Value): Value {
  return customGradient(
    [],
    () => ({ value: compute(), saved: {} }),
    () => [],
  );
}

interface Sizes {
  readonly 2: readonly [number, number];
  readonly 3: readonly [number, number, number];
  readonly 4: readonly [number, number, number, number];
}

/**
 * The sizes of a tensor's dimensions, as a tuple of the expected length.
 * @throws WeftError `internal` when the tensor has another rank.
 */
export function sizes<Rank extends keyof Sizes>(x: tf.Tensor, rank: Rank): Sizes[Rank] {
  const { shape } = x;
  if (hasRank(shape, rank)) return shape;
  throw new WeftError('internal', `a tensor of rank ${rank} was expected, not one of shape [${shape.join(', ')}]`);
}

function hasRank<Rank extends keyof Sizes>(shape: readonly number[], rank: Rank): shape is Sizes[Rank] {
  return shape.length === rank;
}
