import type { OutputPointer, Pointer } from '../native/c-api.js';
import { DataType } from '../native/data-type.js';
import type { TensorSpec } from '../program.js';
import type { GraphWriter } from './graph-writer.js';
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
): CompiledPhase {
  const pointers = new Map<ValueId, OutputPointer>();
  const reads = new Map<string, Pointer>();
  recording.ops.forEach((op, index) => {
    const name = `${recording.phase}/${op.variable ?? `${index}_${op.type}`}`;
    const operation =
      op.variable === undefined
        ? writer.add(
            name,
            describe(op, recording),
            op.inputs.map((input) => pointers.get(input) as OutputPointer),
          )
        : addRead(writer, name, variables.get(op.variable) as OutputPointer, op.attrs);
    if (op.variable !== undefined) reads.set(op.variable, operation);
    for (const [outputIndex, output] of op.outputs.entries()) pointers.set(output, { operation, index: outputIndex });
  });
  const at = (id: ValueId) => pointers.get(id) as OutputPointer;
  return {
    inputs: new Map(Object.entries(recording.inputs).map(([name, id]) => [name, at(id)])),
    outputNames: Object.keys(recording.outputs),
    outputs: Object.values(recording.outputs).map(at),
    targets: Object.entries(recording.assignments).map(([name, id]) => {
      const read = reads.get(name);
      return addAssign(writer, `${recording.phase}/${name}/assign`, variables.get(name) as OutputPointer, at(id), {
        dtype: { kind: 'type', value: recording.values.get(id)?.dataType ?? DataType.float32 },
        after: read === undefined ? [] : [read],
      });
    }),
  };
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

function describe(op: RecordedOp, recording: Recording) {
  const info = recording.values.get(op.outputs[0] as ValueId);
  return info === undefined ? op : { ...op, output: info };
}
