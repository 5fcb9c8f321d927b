import { elementCount, intsIn, type RecordedOp, type Recording, required, type ValueId } from '@weft/tensor';
import { type AxisCut, type Mesh, type MeshAxis, partCount, type Sharding, WHOLE } from '../mesh/mesh.js';

/** An axis of an output that may be cut as an axis of an input is. */
interface Candidate {
  readonly axis: number;
  readonly cut: AxisCut;
}

/**
 * How the values of a phase may lie on a mesh, followed from variables and inputs through the ops. Only those that cross
 * from one part of the phase to the next are asked for: XLA finds all others by itself. A value that lies otherwise than
 * XLA would have it is moved, so a guess that is wrong costs time and nothing else.
 * @param known how variables, inputs and outputs lie; undefined: not said
 */
export function followShardings(
  { ops, values }: Recording,
  mesh: Mesh,
  known: (id: ValueId) => Sharding | undefined,
): ReadonlyMap<ValueId, Sharding> {
  const shardings = new Map<ValueId, Sharding>();
  const permutations = new Map<ValueId, readonly number[]>();
  for (const op of ops) {
    const [constant] = op.outputs;
    if (op.constantValue !== undefined && constant !== undefined && required(values, constant).dtype === 'int32')
      permutations.set(constant, intsIn(op.constantValue));
    for (const id of op.outputs) shardings.set(id, known(id) ?? followed(op, id));
  }
  return shardings;

  function followed(op: RecordedOp, id: ValueId): Sharding {
    const { shape } = required(values, id);
    const candidates = op.inputs.flatMap((input) => {
      const from = shardings.get(input) ?? [];
      const before = required(values, input).shape;
      return [...from.entries()].flatMap(([axis, cut]) => {
        const to = cut.over.length === 0 ? undefined : axisAfter(op, before, axis, shape);
        return to === undefined ? [] : [{ axis: to, cut }];
      });
    });
    return joined(shape, candidates, mesh);
  }

  /** The axis of the output that counts what an axis of an input counts; undefined: there is none, or nobody knows. */
  function axisAfter(op: RecordedOp, before: readonly number[], axis: number, after: readonly number[]) {
    if (op.type === 'Transpose') {
      const to = permutations.get(op.inputs[1] ?? -1)?.indexOf(axis) ?? -1;
      return to < 0 ? undefined : to;
    }
    if (before.length === after.length && op.type !== 'Reshape') return before[axis] === after[axis] ? axis : undefined;
    // What lies before the axis is as much on both sides: it is a block of neighbouring elements there too.
    const blocks = elementCount(before.slice(0, axis));
    const to = after.findIndex((length, at) => length > 1 && elementCount(after.slice(0, at)) === blocks);
    return to < 0 ? undefined : to;
  }
}

/** The cuts that fit an array, those with the lowest priority number first; an axis of the mesh cuts one axis only. */
function joined(shape: readonly number[], candidates: readonly Candidate[], mesh: Mesh): Sharding {
  const cuts: AxisCut[] = shape.map(() => WHOLE);
  const used = new Set<MeshAxis>();
  for (const { axis, cut } of candidates.toSorted((a, b) => a.cut.priority - b.cut.priority)) {
    const isFree = cuts[axis] === WHOLE && cut.over.every((over) => !used.has(over));
    if (!isFree || (shape[axis] ?? 0) % partCount(mesh, cut.over) !== 0) continue;
    cuts[axis] = cut;
    for (const over of cut.over) used.add(over);
  }
  return cuts;
}
