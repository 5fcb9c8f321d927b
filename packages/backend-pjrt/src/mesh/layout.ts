import { type Program, required, type TensorSpec } from '@weft/tensor';
import { type Mesh, type Sharding, shardingOf } from './mesh.js';

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
