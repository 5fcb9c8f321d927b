import { WeftError } from '@weft/common';
import { elementCount, type LogicalAxis, type TensorSpec } from '@weft/tensor';

/** The axes of a mesh from the slowest to the fastest: the devices along `tensor` are neighbours, as they talk most. */
export const MESH_AXES = ['expert', 'fsdp', 'tensor'] as const;
export type MeshAxis = (typeof MESH_AXES)[number];

/** The devices of a worker as a grid: how many there are along each axis. */
export type Mesh = Readonly<Record<MeshAxis, number>>;

/** One device. */
export const SINGLE: Mesh = { expert: 1, fsdp: 1, tensor: 1 };

/** How an axis of an array is cut. */
export interface AxisCut {
  /** The axes of the mesh that it is cut over, the slowest first; none: it is whole. */
  readonly over: readonly MeshAxis[];
  /** Which cut the values in between follow where two would have them otherwise: the one with the lower number. */
  readonly priority: number;
}

/** How an array lies on a mesh: the cut of every axis. */
export type Sharding = readonly AxisCut[];

/** Of an array that every device holds whole. */
export const UNCUT: Sharding = [];

export const WHOLE: AxisCut = { over: [], priority: 0 };

/**
 * What is cut over what. Activations follow the batch first and the features that `tensor` cuts next; weights along
 * `embed` yield: they are gathered where they are used, and their gradients scattered. What every expert has a copy of is
 * cut over `expert` too; stacks of experts have that axis already.
 */
const RULES: Readonly<Record<LogicalAxis | 'none', AxisCut>> = {
  none: WHOLE,
  batch: { over: ['expert', 'fsdp'], priority: 0 },
  heads: { over: ['tensor'], priority: 1 },
  mlp: { over: ['tensor'], priority: 1 },
  vocabulary: { over: ['tensor'], priority: 1 },
  expert: { over: ['expert'], priority: 1 },
  embed: { over: ['expert', 'fsdp'], priority: 2 },
};

export function deviceCount(mesh: Mesh): number {
  return partCount(mesh, MESH_AXES);
}

/** Into how many parts axes of the mesh cut. */
export function partCount(mesh: Mesh, axes: readonly MeshAxis[]): number {
  return axes.reduce((product, axis) => product * mesh[axis], 1);
}

/**
 * How an array lies on a mesh. An axis of the mesh cuts an array once, by the rule that comes first in priority. An axis of the
 * array that the mesh does not divide is cut over the fastest axes that do, or stays whole.
 */
export function shardingOf({ shape, axes = [] }: Pick<TensorSpec, 'shape' | 'axes'>, mesh: Mesh): Sharding {
  const rules = shape.map((_, index) => RULES[axes[index] ?? 'none']);
  return shape.map((size, index) => {
    const { over, priority } = rules[index] ?? WHOLE;
    const isTaken = (axis: MeshAxis) => rules.some((other) => other.priority < priority && other.over.includes(axis));
    const free = over.filter((axis) => mesh[axis] > 1 && !isTaken(axis));
    const dividing = free.map((_, first) => free.slice(first)).find((some) => size % partCount(mesh, some) === 0);
    return dividing === undefined ? WHOLE : { over: dividing, priority };
  });
}

/** Whether an array that lies in this way is a stack of experts of which each device has some. */
export function isExpertStack([first]: Sharding): boolean {
  return first !== undefined && first.priority === RULES.expert.priority && first.over.includes('expert');
}

/**
 * How the tokens of experts lie, [experts, slots, …]: each with its expert, and the slots over the devices that share it.
 * Left alone, XLA would cut features over `fsdp` as the weights are, and add up whole products.
 */
export function slotsSharding({ shape: [experts = 1, slots = 1] }: Pick<TensorSpec, 'shape'>, mesh: Mesh): Sharding {
  return [
    ...shardingOf({ shape: [experts], axes: ['expert'] }, mesh),
    slots % mesh.fsdp === 0 && mesh.fsdp > 1 ? { over: ['fsdp'], priority: RULES.batch.priority } : WHOLE,
  ];
}

/** The shape of what each device holds of an array. */
export function shardShape(shape: readonly number[], sharding: Sharding, mesh: Mesh): readonly number[] {
  return shape.map((size, index) => size / partCount(mesh, sharding[index]?.over ?? []));
}

/** The bytes that each device holds of an array. */
export function shardBytes(spec: TensorSpec, mesh: Mesh): number {
  return 4 * elementCount(shardShape(spec.shape, shardingOf(spec, mesh), mesh));
}

/** The bytes that each device holds of an array while it is gathered to be used. */
export function gatheredBytes(spec: TensorSpec, mesh: Mesh): number {
  const gathered = shardingOf(spec, mesh).map((cut) => (cut.priority === RULES.embed.priority ? WHOLE : cut));
  return 4 * elementCount(shardShape(spec.shape, gathered, mesh));
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
