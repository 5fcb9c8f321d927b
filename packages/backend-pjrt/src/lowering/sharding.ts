import { MESH_AXES, type Mesh, type Sharding, WHOLE } from '../mesh/mesh.js';

/** The mesh as an op of the module. */
export function meshText(mesh: Mesh): string {
  return `sdy.mesh @mesh = <[${MESH_AXES.map((axis) => `"${axis}"=${mesh[axis]}`).join(', ')}]>`;
}

/** The attribute of an argument or result that lies on the mesh in this way. */
export function shardingAttribute(rank: number, sharding: Sharding): string {
  const axes = Array.from({ length: rank }, (_, axis) => sharding[axis] ?? WHOLE).map(({ over, priority }) =>
    over.length === 0 ? '{}' : `{${over.map((axis) => `"${axis}"`).join(', ')}}p${priority}`,
  );
  return `sdy.sharding = #sdy.sharding<@mesh, [${axes.join(', ')}]>`;
}
