import { type Program, required, type TensorSpec } from '@weft/tensor';
import { MESH_AXES, type Mesh, type Sharding, shardingOf, WHOLE } from '../mesh/mesh.js';

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
  const axes = Array.from({ length: rank }, (_, axis) => sharding[axis] ?? WHOLE).map(({ over, priority }) =>
    over.length === 0 ? '{}' : `{${over.map((axis) => `"${axis}"`).join(', ')}}p${priority}`,
  );
  return `sdy.sharding = #sdy.sharding<@mesh, [${axes.join(', ')}]>`;
}
