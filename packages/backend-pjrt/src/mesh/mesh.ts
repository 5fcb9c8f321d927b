import { WeftError } from '@weft/common';
import type { LogicalAxis, TensorSpec } from '@weft/tensor';

/** The axes of a mesh from the slowest to the fastest: the devices along `tensor` are neighbours, as they talk most. */
export const MESH_AXES = ['expert', 'fsdp', 'tensor'] as const;
export type MeshAxis = (typeof MESH_AXES)[number];

/** The devices of a worker as a grid: how many there are along each axis. */
export type Mesh = Readonly<Record<MeshAxis, number>>;

/** One device. */
export const SINGLE: Mesh = { expert: 1, fsdp: 1, tensor: 1 };

/** Over which axes of the mesh each axis of an array is cut, the slowest first; an empty list: not at all. */
export type Sharding = readonly (readonly MeshAxis[])[];

/** What is cut over what. State that nobody computes with whole lies on fsdp; batches take all axes that hold no state twice. */
const RULES: Readonly<Record<LogicalAxis, readonly MeshAxis[]>> = {
  batch: ['expert', 'fsdp'],
  embed: ['fsdp'],
  heads: ['tensor'],
  mlp: ['tensor'],
  vocabulary: ['tensor'],
  expert: ['expert'],
};

export function deviceCount(mesh: Mesh): number {
  return partCount(mesh, MESH_AXES);
}

/** Into how many parts axes of the mesh cut. */
export function partCount(mesh: Mesh, axes: readonly MeshAxis[]): number {
  return axes.reduce((product, axis) => product * mesh[axis], 1);
}

/** How an array lies on a mesh. An axis that the mesh does not divide stays whole. */
export function shardingOf({ shape, axes }: Pick<TensorSpec, 'shape' | 'axes'>, mesh: Mesh): Sharding {
  return shape.map((size, index) => {
    const logical = axes?.[index] ?? null;
    const cutting = logical === null ? [] : RULES[logical].filter((axis) => mesh[axis] > 1);
    return size % partCount(mesh, cutting) === 0 ? cutting : [];
  });
}

/** The bytes that each device holds of an array. */
export function shardBytes(spec: TensorSpec, mesh: Mesh): number {
  const elements = shardingOf(spec, mesh).map((axes, index) => (spec.shape[index] ?? 1) / partCount(mesh, axes));
  return 4 * elements.reduce((product, size) => product * size, 1);
}

/** @throws WeftError `invalid_argument` when the mesh is not made of all devices; a single one may be the first of many. */
export function checkMesh(mesh: Mesh, devices: number): void {
  const size = deviceCount(mesh);
  if (size === devices || size === 1) return;
  const { fsdp, tensor, expert } = mesh;
  throw new WeftError(
    'invalid_argument',
    `engine.mesh is fsdp ${fsdp} × tensor ${tensor} × expert ${expert} = ${size} devices, but the worker has ${devices}`,
    { hint: `set engine.mesh to auto, or to sizes whose product is ${devices}` },
  );
}
