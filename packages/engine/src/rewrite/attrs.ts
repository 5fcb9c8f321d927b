import type { Attrs, AttrValue } from '../graph/recording.js';
import { DataType, type DataTypeName } from '../native/data-type.js';

/** A data type as an op attribute. */
export function typeAttr(name: DataTypeName): AttrValue {
  return { kind: 'type', value: DataType[name] };
}

export const FLOAT: Attrs = { T: typeAttr('float32') };

/** Whether the op computes in float32. */
export function isFloat({ T }: Attrs): boolean {
  return T?.value === DataType.float32;
}

/** Whether it is the type of real numbers in one of the two precisions. */
export function isRealType(dataType: number | undefined): boolean {
  return dataType === DataType.float32 || dataType === DataType.bfloat16;
}
