/** What one expert worker holds of a call: for each expert and group, room for `capacity` rows of D values. */
export interface BlockShape {
  readonly firstExpert: number;
  readonly experts: number;
  readonly groups: number;
  readonly capacity: number;
  readonly width: number;
}

/** Rooms of a block: one for each of its experts and groups. */
export function roomsOf({ experts, groups }: BlockShape): number {
  return experts * groups;
}

/** Values of a block. */
export function blockLength(shape: BlockShape): number {
  return roomsOf(shape) * shape.capacity * shape.width;
}

/** The parts of a block that travel, in order; the rows of full rooms go in one piece with the next. */
export function travellingParts(
  block_ECD: Float32Array,
  filled_EG: Int32Array,
  { capacity, width }: BlockShape,
): readonly Float32Array[] {
  const parts: Float32Array[] = [];
  let first = 0;
  for (const [room, rows] of filled_EG.entries()) {
    const end = (room * capacity + rows) * width;
    if (rows === capacity && room < filled_EG.length - 1) continue;
    if (end > first) parts.push(block_ECD.subarray(first, end));
    first = (room + 1) * capacity * width;
  }
  return parts;
}

/** Zeros wherever no row arrives. */
export function clearTheRest(block_ECD: Float32Array, filled_EG: Int32Array, { capacity, width }: BlockShape): void {
  for (const [room, rows] of filled_EG.entries())
    block_ECD.fill(0, (room * capacity + rows) * width, (room + 1) * capacity * width);
}
