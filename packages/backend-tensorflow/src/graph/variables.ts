import { type Attrs, type DType, infoAttrs, type TensorSpec } from '@weft/tensor';
import type { OutputPointer, Pointer } from '../native/c-api.js';
import type { GraphWriter } from './graph-writer.js';

interface Options {
  readonly dtype: DType;
  /** What must be done before. */
  readonly after?: readonly Pointer[];
}

/** A resident variable; returns its handle. */
export function addVariable(writer: GraphWriter, name: string, spec: TensorSpec): OutputPointer {
  const attrs: Attrs = {
    ...infoAttrs({ shape: spec.shape, dtype: spec.dtype }),
    shared_name: { kind: 'string', value: name },
  };
  return { operation: writer.add(`variables/${name}`, { type: 'VarHandleOp', attrs }, []), index: 0 };
}

/** Reads a variable: a view on its present value that later assignments leave alone. */
export function addRead(writer: GraphWriter, name: string, handle: OutputPointer, options: Options): OutputPointer {
  const attrs: Attrs = { dtype: { kind: 'type', value: options.dtype } };
  return { operation: writer.add(name, { type: 'ReadVariableOp', attrs }, [handle], options.after), index: 0 };
}

/** Gives a variable another value, by exchanging its buffer. */
export function addAssign(
  writer: GraphWriter,
  name: string,
  handle: OutputPointer,
  value: OutputPointer,
  options: Options,
): Pointer {
  const attrs: Attrs = { dtype: { kind: 'type', value: options.dtype } };
  return writer.add(name, { type: 'AssignVariableOp', attrs }, [handle, value], options.after);
}
