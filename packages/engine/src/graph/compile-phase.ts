import { ADAM_UPDATE } from '../adam-update.js';
import type { OutputPointer, Pointer } from '../native/c-api.js';
import { DataType } from '../native/data-type.js';
import type { TensorSpec } from '../program.js';
import { adamUpdates, addAdam, neededValues } from './adam-in-place.js';
import type { GraphWriter } from './graph-writer.js';
import type { LoopFunctions } from './loop-functions.js';
import type { Attrs, RecordedOp, Recording, ValueId } from './recording.js';

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
  const at = (id: ValueId) => pointers.get(id) as OutputPointer;
  const handleOf = (variable: string) => variables.get(variable) as OutputPointer;
  const updates = adamUpdates(recording);
  const updated = new Set(updates.flatMap(({ slots }) => slots.map(({ variable }) => variable)));
  const needed = neededValues(recording, updates);
  const reads = new Map<string, Pointer>();
  const after = (variable: string) => [reads.get(variable)].filter((read) => read !== undefined);

  for (const [index, op] of recording.ops.entries()) {
    if (op.type === ADAM_UPDATE || (op.variable !== undefined && !needed.has(op.outputs[0] as ValueId))) continue;
    const name = `${recording.phase}/${op.variable ?? `${index}_${op.type}`}`;
    const operation =
      op.variable === undefined
        ? writer.add(
            name,
            op.body === undefined ? describe(op, recording) : loop(loops.nameOf(op.body, recording.values)),
            op.inputs.map(at),
            op.after?.map((value) => at(value).operation),
          )
        : addRead(writer, name, handleOf(op.variable), op.attrs);
    if (op.variable !== undefined) reads.set(op.variable, operation);
    for (const [outputIndex, output] of op.outputs.entries()) pointers.set(output, { operation, index: outputIndex });
  }

  const assign = (variable: string, value: ValueId) => {
    const dtype = { kind: 'type', value: recording.values.get(value)?.dataType ?? DataType.float32 } as const;
    const name = `${recording.phase}/${variable}/assign`;
    return addAssign(writer, name, handleOf(variable), at(value), { dtype, after: after(variable) });
  };
  const assignments = Object.entries(recording.assignments).filter(([variable]) => !updated.has(variable));
  return {
    inputs: new Map(Object.entries(recording.inputs).map(([name, id]) => [name, at(id)])),
    outputNames: Object.keys(recording.outputs),
    outputs: fetchable(writer, recording, at),
    targets: [
      ...assignments.map(([variable, value]) => assign(variable, value)),
      ...updates.map(({ op, slots }) => {
        const first = slots.flatMap(({ variable, input, isRead }) =>
          isRead ? after(variable) : [assign(variable, input)],
        );
        const inputs = [...slots.map(({ variable }) => handleOf(variable)), ...op.inputs.slice(slots.length).map(at)];
        return addAdam(writer, `${recording.phase}/${slots[0]?.variable}/adam`, inputs, first);
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

/** A resident variable. */
export function addVariable(writer: GraphWriter, name: string, spec: TensorSpec): OutputPointer {
  const attrs: Attrs = {
    dtype: { kind: 'type', value: DataType[spec.dtype] },
    shape: { kind: 'shape', value: spec.shape },
    shared_name: { kind: 'string', value: name },
  };
  return { operation: writer.add(`variables/${name}`, { type: 'VarHandleOp', attrs }, []), index: 0 };
}

/** Reads a variable: a view on its present value that later assignments leave alone. */
export function addRead(writer: GraphWriter, name: string, handle: OutputPointer, { dtype }: Attrs): Pointer {
  return writer.add(name, { type: 'ReadVariableOp', attrs: dtype === undefined ? {} : { dtype } }, [handle]);
}

export function addAssign(
  writer: GraphWriter,
  name: string,
  handle: OutputPointer,
  value: OutputPointer,
  options: { readonly dtype: Attrs[string]; readonly after: readonly Pointer[] },
): Pointer {
  const attrs: Attrs = { dtype: options.dtype };
  return writer.add(name, { type: 'AssignVariableOp', attrs }, [handle, value], options.after);
}

function loop(type: string) {
  return { type, attrs: { _XlaMustCompile: { kind: 'bool', value: true } } } as const;
}

function describe(op: RecordedOp, recording: Recording) {
  const info = recording.values.get(op.outputs[0] as ValueId);
  return info === undefined ? op : { ...op, output: info };
}
