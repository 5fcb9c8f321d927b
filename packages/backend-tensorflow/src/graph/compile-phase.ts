import { ADAM_UPDATE, outputOf, type Recording, required, type ValueId } from '@weft/tensor';
import type { OutputPointer, Pointer } from '../native/c-api.js';
import { adamUpdates, addAdam, neededValues } from './adam-in-place.js';
import type { GraphWriter } from './graph-writer.js';
import type { LoopFunctions } from './loop-functions.js';
import { addAssign, addRead } from './variables.js';

/** A phase inside the program's graph: what to feed, fetch and run. */
export interface CompiledPhase {
  readonly inputs: ReadonlyMap<string, OutputPointer>;
  readonly outputNames: readonly string[];
  readonly outputs: readonly OutputPointer[];
  /** The assignments of resident variables. */
  readonly targets: readonly Pointer[];
}

/**
 * Writes a recording into the graph. Reads of variables become `ReadVariableOp`, assignments `AssignVariableOp`
 * after the phase's read of the same variable, so that a phase sees the state as it was when it began.
 */
export function compilePhase(
  writer: GraphWriter,
  recording: Recording,
  variables: ReadonlyMap<string, OutputPointer>,
  loops: LoopFunctions,
): CompiledPhase {
  const pointers = new Map<ValueId, OutputPointer>();
  const at = (id: ValueId) => required(pointers, id);
  const infoOf = (id: ValueId) => required(recording.values, id);
  const handleOf = (variable: string) => required(variables, variable);
  const updates = adamUpdates(recording);
  const inPlace = new Set(updates.flatMap(({ variables }) => variables));
  const needed = neededValues(recording, updates);
  const reads = new Map<string, Pointer>();
  const after = (variable: string) => [reads.get(variable)].filter((read) => read !== undefined);

  for (const [index, op] of recording.ops.entries()) {
    const output = outputOf(op);
    if (op.type === ADAM_UPDATE || (op.variable !== undefined && !needed.has(output))) continue;
    if (op.variable !== undefined) {
      const read = addRead(writer, `${recording.phase}/${op.variable}`, handleOf(op.variable), infoOf(output));
      reads.set(op.variable, read.operation);
      pointers.set(output, read);
      continue;
    }
    const described =
      op.body === undefined ? { ...op, output: infoOf(output) } : loop(loops.nameOf(op.body, recording.values));
    const earlier = op.after?.map((value) => at(value).operation);
    const operation = writer.add(`${recording.phase}/${index}_${op.type}`, described, op.inputs.map(at), earlier);
    for (const [outputIndex, value] of op.outputs.entries()) pointers.set(value, { operation, index: outputIndex });
  }

  const assign = (variable: string, value: ValueId) => {
    const name = `${recording.phase}/${variable}/assign`;
    const options = { dtype: infoOf(value).dtype, after: after(variable) };
    return addAssign(writer, name, handleOf(variable), at(value), options);
  };
  const assignments = Object.entries(recording.assignments).filter(([variable]) => !inPlace.has(variable));
  return {
    inputs: new Map(Object.entries(recording.inputs).map(([name, id]) => [name, at(id)])),
    outputNames: Object.keys(recording.outputs),
    outputs: fetchable(writer, recording, at),
    targets: [
      ...assignments.map(([variable, value]) => assign(variable, value)),
      ...updates.map(({ op, variables: updated }) => {
        const inputs = [...updated.map(handleOf), ...op.inputs.slice(updated.length).map(at)];
        const name = `${recording.phase}/${updated[0]}/adam`;
        if (op.body === undefined) return addAdam(writer, name, inputs, updated.flatMap(after));
        const type = loops.nameOf(op.body, recording.values, updated.length);
        return writer.add(name, loop(type), inputs, updated.flatMap(after));
      }),
    ],
  };
}

/** Outputs as nodes that are nobody else's: a partial run neither fetches a node twice nor one that it is fed. */
function fetchable(
  writer: GraphWriter,
  recording: Recording,
  at: (id: ValueId) => OutputPointer,
): readonly OutputPointer[] {
  const taken = new Set(Object.values(recording.inputs));
  return Object.entries(recording.outputs).map(([name, value]) => {
    if (!taken.has(value)) {
      taken.add(value);
      return at(value);
    }
    const identity = { type: 'Identity', attrs: {} };
    return { operation: writer.add(`${recording.phase}/${name}/output`, identity, [at(value)]), index: 0 };
  });
}

function loop(type: string) {
  return { type, attrs: { _XlaMustCompile: { kind: 'bool', value: true } } } as const;
}
