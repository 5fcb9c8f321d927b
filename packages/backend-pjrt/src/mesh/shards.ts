import type { Box } from '@weft/tensor';
import { deviceCount, MESH_AXES, type Mesh, type MeshAxis, partCount, type Sharding, shardShape } from './mesh.js';

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
