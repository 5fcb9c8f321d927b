import { byteSize, type Recording, required, type TensorSpec, type ValueId } from '@weft/tensor';
import { deviceCount, gatheredBytes, MESH_AXES, type Mesh, type MeshAxis, shardBytes } from './mesh.js';

/** What a mesh is chosen for. */
export interface MeshNeeds {
  readonly devices: number;
  /** Of one device; undefined: nobody knows, and everything fits. */
  readonly memoryBytes: number | undefined;
  /** What stays on the devices between phases. */
  readonly state: readonly TensorSpec[];
  /** What a phase computes on one device, without the state and before anything is cut: see `temporaryBytes`. */
  readonly temporaryBytes: number;
  /** Whether heads, experts and the batch can be cut in this way. */
  readonly allows: (mesh: Mesh) => boolean;
}

/** The part of the memory that is planned with: estimates err, and the compiler wants room of its own. */
const USABLE = 0.85;

/**
 * The mesh with the least cutting that fits into the devices' memory: fsdp alone, which computes as one device does, then
 * as little of `expert` and of `tensor` as is needed, which exchange activations within every layer. When none fits, the
 * one that needs least: the compiler then tells how much is missing. When none is allowed, a single device.
 */
export function chooseMesh(needs: MeshNeeds): Mesh {
  const { devices, memoryBytes = Number.POSITIVE_INFINITY, allows } = needs;
  const candidates = candidateMeshes(devices).filter(allows);
  const [least] = candidates.toSorted((a, b) => neededBytes(needs, a) - neededBytes(needs, b));
  const fitting = candidates.find((mesh) => neededBytes(needs, mesh) <= USABLE * memoryBytes);
  return fitting ?? least ?? { fsdp: 1, tensor: 1, expert: 1 };
}

/** All meshes of a number of devices, those that cut activations least first. */
export function candidateMeshes(devices: number): readonly Mesh[] {
  const sizes = Array.from({ length: devices }, (_, i) => i + 1).filter((size) => devices % size === 0);
  return sizes.flatMap((tensor) =>
    sizes.flatMap((expert) => {
      const fsdp = devices / (tensor * expert);
      return Number.isInteger(fsdp) ? [{ fsdp, tensor, expert }] : [];
    }),
  );
}

/** Bytes of one device: its shards, what it computes, and the largest array as it is while it is gathered. */
function neededBytes({ state, temporaryBytes }: MeshNeeds, mesh: Mesh): number {
  const held = state.reduce((sum, spec) => sum + shardBytes(spec, mesh), 0);
  const gathered = Math.max(0, ...state.map((spec) => gatheredBytes(spec, mesh)));
  return held + temporaryBytes / deviceCount(mesh) + 2 * gathered;
}

/**
 * The most bytes of computed values that wait for their last use at one time, in the order of the recording: what a phase
 * takes beside state and inputs. Gradients are among them; what XLA fuses away is counted too.
 */
export function temporaryBytes(recording: Recording): number {
  const computing = recording.ops.filter(({ type }) => type !== 'Const' && type !== 'Placeholder');
  const lastUses = new Map<ValueId, number>();
  for (const [at, { inputs }] of computing.entries()) for (const id of inputs) lastUses.set(id, at);
  for (const id of Object.values(recording.outputs)) lastUses.set(id, computing.length);
  const bytesOf = (id: ValueId) => {
    const { shape, dtype } = required(recording.values, id);
    return byteSize(dtype, shape);
  };
  const made = new Set<ValueId>();
  let [now, most] = [0, 0];
  for (const [at, { inputs, outputs }] of computing.entries()) {
    for (const id of outputs) {
      made.add(id);
      now += bytesOf(id);
    }
    most = Math.max(most, now);
    for (const id of new Set([...inputs, ...outputs])) {
      if (!made.has(id) || (lastUses.get(id) ?? at) > at) continue;
      made.delete(id);
      now -= bytesOf(id);
    }
  }
  return most;
}

/** The axes of a mesh for people: "fsdp 4 × tensor 2". */
export function describeMesh(mesh: Mesh): string {
  const named: readonly MeshAxis[] = MESH_AXES.filter((axis) => mesh[axis] > 1);
  return named.length === 0 ? '1 device' : named.map((axis) => `${axis} ${mesh[axis]}`).join(' × ');
}
