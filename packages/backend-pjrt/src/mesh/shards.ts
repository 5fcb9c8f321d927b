import type { HostArray } from '@weft/tensor';
import { deviceCount, MESH_AXES, type Mesh, type MeshAxis, partCount, type Sharding, shardShape } from './mesh.js';

/** A box of an array: along every axis where it begins and how long it is. */
export interface Box {
  readonly begin: readonly number[];
  readonly size: readonly number[];
}

/** The part of an array on a device of the mesh. Devices are numbered row by row, in the order of `MESH_AXES`. */
export function shardBox(shape: readonly number[], sharding: Sharding, mesh: Mesh, device: number): Box {
  const size = shardShape(shape, sharding, mesh);
  const begin = size.map((length, index) => {
    const part = (sharding[index]?.over ?? []).reduce(
      (so, axis) => so * mesh[axis] + coordinate(mesh, device, axis),
      0,
    );
    return part * length;
  });
  return { begin, size };
}

/** Devices that together hold an array once. */
export function holders(sharding: Sharding, mesh: Mesh): readonly number[] {
  const cutting = new Set(sharding.flatMap(({ over }) => over));
  const whole = MESH_AXES.filter((axis) => !cutting.has(axis));
  return Array.from({ length: deviceCount(mesh) }, (_, device) => device).filter((device) =>
    whole.every((axis) => coordinate(mesh, device, axis) === 0),
  );
}

/** Where a device stands along an axis. */
function coordinate(mesh: Mesh, device: number, axis: MeshAxis): number {
  const faster = MESH_AXES.slice(MESH_AXES.indexOf(axis) + 1);
  return Math.floor(device / partCount(mesh, faster)) % mesh[axis];
}

/** Takes a box out of an array, row-major. A box that lies in one run is a view on the array. */
export function cut<T extends HostArray>(array: T, shape: readonly number[], box: Box): T {
  const { starts, length } = runs(shape, box);
  const [first = 0] = starts;
  if (starts.length === 1) return array.subarray(first, first + length) as T;
  const shard = array.slice(0, starts.length * length) as T;
  for (const [i, start] of starts.entries()) shard.set(array.subarray(start, start + length), i * length);
  return shard;
}

/** Puts a box back into an array. */
export function paste(array: HostArray, shape: readonly number[], box: Box, shard: HostArray): void {
  const { starts, length } = runs(shape, box);
  for (const [i, start] of starts.entries()) array.set(shard.subarray(i * length, (i + 1) * length), start);
}

/** A box as runs of neighbouring elements: where each begins, in order, and how long all of them are. */
function runs(shape: readonly number[], { begin, size }: Box): { starts: readonly number[]; length: number } {
  // Behind the last axis that is cut, everything is taken, so a run is as long as the cut axis allows.
  const lastCut = shape.findLastIndex((length, index) => size[index] !== length);
  let length = 1;
  let stride = 1;
  let starts = [0];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const [from, count] = [begin[axis] ?? 0, size[axis] ?? 1];
    const step = stride;
    if (axis >= lastCut) {
      length *= count;
      starts = starts.map((start) => start + from * step);
    } else {
      const inner = starts;
      starts = Array.from({ length: count }, (_, i) => inner.map((start) => start + (from + i) * step)).flat();
    }
    stride *= shape[axis] ?? 1;
  }
  return { starts, length };
}
