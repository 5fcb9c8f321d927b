import type { ValueId } from '../graph/recording.js';
import { DataType, type DataTypeName } from '../native/data-type.js';
import { typeAttr } from './attrs.js';
import type { Editor } from './edit.js';

/** Adds a cast of a value. */
export function castValue(editor: Editor, value: ValueId, from: DataTypeName, to: DataTypeName): ValueId {
  const attrs = { SrcT: typeAttr(from), DstT: typeAttr(to) };
  return editor.add('Cast', attrs, [value], { shape: editor.infoOf(value).shape, dataType: DataType[to] });
}
