import { type Program, required, type TensorSpec } from '@weft/tensor';
import { type AxisCut, MESH_AXES, type Mesh, type MeshAxis, type Sharding, shardingOf, WHOLE } from '../mesh/mesh.js';

/** How what a phase takes and gives lies on the mesh, by name. */
export interface PhaseLayout {
  readonly mesh: Mesh;
  readonly variable: (name: string) => Sharding;
  readonly input: (name: string) => Sharding;
  /** Undefined: nothing is known of it, and every device holds it whole. */
  readonly output: (name: string) => Sharding | undefined;
}

/** Variables and inputs lie as their axes say. An output that a phase takes as an input lies as it does there. */
export function phaseLayout({ state, phases }: Program, phase: string, mesh: Mesh): PhaseLayout {
  const variables = new Map(Object.entries(state));
  const inputs = new Map(Object.entries(phases[phase]?.inputs ?? {}));
  const taken = new Map(Object.values(phases).flatMap((other) => Object.entries(other.inputs)));
  const sharding = (spec: TensorSpec) => shardingOf(spec, mesh);
  return {
    mesh,
    variable: (name) => sharding(required(variables, name)),
    input: (name) => sharding(required(inputs, name)),
    output: (name) => {
      const spec = taken.get(name);
      return spec === undefined ? undefined : sharding(spec);
    },
  };
}

/** By argument and by result of a module how it lies on the mesh. */
export interface ModuleLayout {
  readonly mesh: Mesh;
  readonly arguments: readonly Sharding[];
  readonly results: readonly Sharding[];
}

/** The mesh as an op of the module. */
export function meshText(mesh: Mesh): string {
  return `sdy.mesh @mesh = <[${MESH_AXES.map((axis) => `"${axis}"=${mesh[axis]}`).join(', ')}]>`;
}

/**
 * The attribute of an argument or result that lies on the mesh in this way. Shardy finds the shardings of all values in
 * between: it spreads those of a lower `p` first.
 */
export function shardingAttribute(rank: number, sharding: Sharding): string {
  return `sdy.sharding = #sdy.sharding${onMesh(rank, sharding, ({ priority }) => `p${priority}`)}`;
}

/** How an operand or result of a region lies that devices compute by themselves. */
export function shardingText(rank: number, sharding: Sharding): string {
  return onMesh(rank, sharding, () => '');
}

/** The same with axes that are whole left open. */
export function openShardingText(rank: number, sharding: Sharding): string {
  return onMesh(rank, sharding, () => '', '{?}');
}

function onMesh(rank: number, sharding: Sharding, suffix: (cut: AxisCut) => string, whole = '{}'): string {
  const axes = Array.from({ length: rank }, (_, axis) => sharding[axis] ?? WHOLE).map((cut) =>
    cut.over.length === 0 ? whole : `{${quoted(cut.over)}}${suffix(cut)}`,
  );
  return `<@mesh, [${axes.join(', ')}]>`;
}

/** The axes of a region that devices compute by themselves: all that there are. */
export function manualAxes(mesh: Mesh): string {
  return quoted(MESH_AXES.filter((axis) => mesh[axis] > 1));
}

function quoted(axes: readonly MeshAxis[]): string {
  return axes.map((axis) => `"${axis}"`).join(', ');
}
