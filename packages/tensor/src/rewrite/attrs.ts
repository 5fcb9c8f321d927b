import type { DType } from '../dtype.js';
import type { Attrs, AttrValue } from '../recording.js';

/** A data type as an op attribute. */
export function typeAttr(name: DType): AttrValue {
  return { kind: 'type', value: name };
}

export const FLOAT: Attrs = { T: typeAttr('float32') };

/** Whether the op computes in float32. */
export function isFloat({ T }: Attrs): boolean {
  return T?.value === 'float32';
}

/** Whether it is the type of real numbers in one of the two precisions. */
export function isRealType(dtype: unknown): boolean {
  return dtype === 'float32' || dtype === 'bfloat16';
}
