/** What one expert worker holds of a call: n experts with room for C rows of D values each. */
export interface BlockShape {
  readonly firstExpert: number;
  readonly experts: number;
  readonly capacity: number;
  readonly width: number;
}

export function blockLength({ experts, capacity, width }: BlockShape): number {
  return experts * capacity * width;
}

/** How many rows of each expert travel: all up to the last one that is not all zeros. */
export function countRows(block_ECD: Float32Array, { experts, capacity, width }: BlockShape): Uint32Array {
  return Uint32Array.from({ length: experts }, (_, expert) => {
    let rows = capacity;
    while (rows > 0 && isZero(block_ECD, (expert * capacity + rows - 1) * width, width)) rows--;
    return rows;
  });
}

function isZero(values: Float32Array, first: number, length: number): boolean {
  for (let i = first; i < first + length; i++) if (values[i] !== 0) return false;
  return true;
}

/** The parts of a block that travel, in order; rows of experts whose room is full go in one piece with the next. */
export function travellingParts(
  block_ECD: Float32Array,
  counts: Uint32Array,
  { capacity, width }: BlockShape,
): readonly Float32Array[] {
  const parts: Float32Array[] = [];
  let first = 0;
  for (const [expert, rows] of counts.entries()) {
    const end = (expert * capacity + rows) * width;
    if (rows === capacity && expert < counts.length - 1) continue;
    if (end > first) parts.push(block_ECD.subarray(first, end));
    first = (expert + 1) * capacity * width;
  }
  return parts;
}

/** Zeros wherever no row arrives. */
export function clearTheRest(block_ECD: Float32Array, counts: Uint32Array, { capacity, width }: BlockShape): void {
  for (const [expert, rows] of counts.entries())
    block_ECD.fill(0, (expert * capacity + rows) * width, (expert + 1) * capacity * width);
}
