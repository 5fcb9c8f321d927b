import type { DType } from '../dtype.js';
import type { Attrs, AttrValue } from '../ops.js';
import type { RecordedOp, ValueId } from '../recording.js';
import type { Editor } from './edit.js';

/** Adds a cast of a value. */
export function castValue(editor: Editor, value: ValueId, from: DType, to: DType): ValueId {
  const attrs = { SrcT: typeAttr(from), DstT: typeAttr(to) };
  return editor.add('Cast', attrs, [value], { shape: editor.infoOf(value).shape, dtype: to });
}

/** Whether an op yields what a bfloat16 value is in float32. */
export function isWidening({ type, attrs }: RecordedOp): boolean {
  return type === 'Cast' && attrs.SrcT?.value === 'bfloat16';
}

/** Whether an op rounds its input to bfloat16. */
export function isNarrowing({ type, attrs }: RecordedOp): boolean {
  return type === 'Cast' && attrs.DstT?.value === 'bfloat16';
}

/** A data type as an op attribute. */
export function typeAttr(name: DType): AttrValue {
  return { kind: 'type', value: name };
}

/** The attributes of an op that computes in float32. */
export const FLOAT: Attrs = { T: typeAttr('float32') };

/** Whether the op computes in float32. */
export function isFloat({ T }: Attrs): boolean {
  return T?.value === 'float32';
}

/** Whether it is the type of real numbers in one of the two precisions. */
export function isRealType(dtype: unknown): boolean {
  return dtype === 'float32' || dtype === 'bfloat16';
}
