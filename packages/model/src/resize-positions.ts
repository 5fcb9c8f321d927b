// Legend: W width, G and H sides of the grids, C rows in front of the grid.

/** A shape of a table of positions: rows and width. */
type TableShape = readonly number[];

/**
 * Whether a table of learned positions may become another: both belong to square grids of the same width, with the same
 * rows in front of them, none or that of a class token.
 */
export function canResizePositions(from: TableShape, to: TableShape): boolean {
  const [before, after] = [gridOf(from), gridOf(to)];
  return before !== undefined && after !== undefined && before.front === after.front && from[1] === to[1];
}

/**
 * Learned positions for another grid, so that an encoder reads images of another size: bicubic interpolation between the
 * cells' centres, without antialiasing, as PyTorch's `interpolate` does it. Rows in front of the grid stay as they are.
 *
 * @param values [C + G², W]
 * @param to [C + H², W]; see `canResizePositions`
 */
export function resizePositions(values: Float32Array, from: TableShape, to: TableShape): Float32Array {
  const [{ front = 0, side = 0 } = {}, { side: newSide = 0 } = {}] = [gridOf(from), gridOf(to)];
  const width = to[1] ?? 0;
  const resized = new Float32Array((front + newSide ** 2) * width);
  resized.set(values.subarray(0, front * width));
  const taps = Array.from({ length: newSide }, (_, cell) => tapsOf(cell, side / newSide, side));
  taps.forEach((rows, row) => {
    taps.forEach((columns, column) => {
      const to = (front + row * newSide + column) * width;
      for (const [fromRow, rowWeight] of rows)
        for (const [fromColumn, columnWeight] of columns) {
          const from = (front + fromRow * side + fromColumn) * width;
          const weight = rowWeight * columnWeight;
          for (let i = 0; i < width; i++) resized[to + i]! += weight * values[from + i]!;
        }
    });
  });
  return resized;
}

/** The rows in front of a table's grid, and the grid's side; undefined where the rows are no grid. */
function gridOf([rows = 0]: TableShape): { readonly front: number; readonly side: number } | undefined {
  for (const front of [0, 1]) {
    const side = Math.sqrt(rows - front);
    if (Number.isInteger(side) && side > 0) return { front, side };
  }
  return undefined;
}

/** The four cells that make one of the new grid along a side, with their weights; beyond the border it goes on as it ends. */
function tapsOf(cell: number, scale: number, side: number): readonly (readonly [cell: number, weight: number])[] {
  const at = (cell + 0.5) * scale - 0.5;
  const first = Math.floor(at);
  return [-1, 0, 1, 2].map((offset) => {
    const neighbour = first + offset;
    return [Math.min(Math.max(neighbour, 0), side - 1), cubic(at - neighbour)] as const;
  });
}

/** Keys' cubic convolution with a = −0.75. */
function cubic(distance: number): number {
  const x = Math.abs(distance);
  if (x <= 1) return (1.25 * x - 2.25) * x * x + 1;
  return x < 2 ? ((-0.75 * x + 3.75) * x - 6) * x + 3 : 0;
}
