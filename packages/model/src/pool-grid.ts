// Legend: N images, P patches of a grid (G a side), K pooled cells (S a side), C channels.
import { tf } from '@weft/tensor';
import { sizes } from './sizes.js';

/**
 * Adaptive average pooling of a square grid: [N, P, C] → [N, K, C], as one product with a constant matrix.
 * Cell i of a side averages patches ⌊i·G/S⌋ up to, not including, ⌈(i+1)·G/S⌉, so the bins overlap where S does not
 * divide G (27 → 12) and are plain G/S × G/S squares where it does.
 * @param side S, at most G; 1 gives the mean over the whole grid
 */
export function poolGrid(grid_NPC: tf.Tensor, side: number): tf.Tensor {
  const [, patchCount] = sizes(grid_NPC, 3);
  return tf.matMul(poolingMatrix(Math.sqrt(patchCount), side), grid_NPC);
}

/** The matrix [S², G²] whose row averages the patches of one cell. */
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
