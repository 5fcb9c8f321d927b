import { assertNever } from '@weft/common';
import { type AttrValue, TENSORFLOW_DTYPES } from '@weft/tensor';
import type { CApi, Pointer } from './c-api.js';
import type { Status } from './handles.js';

/** Where attributes are set. */
export interface AttrTarget {
  readonly api: CApi;
  /** TensorFlow has the same setters twice: for the description of a node of a graph, and for an op that runs at once. */
  readonly setters: 'TF_SetAttr' | 'TFE_OpSetAttr';
  readonly status: Status;
}

/** Gives an op an attribute. @throws WeftError `internal` when TensorFlow refuses the shape. */
export function setAttr({ api, setters, status }: AttrTarget, op: Pointer, name: string, attr: AttrValue): void {
  switch (attr.kind) {
    case 'type':
      return void api[`${setters}Type`](op, name, TENSORFLOW_DTYPES[attr.value]);
    case 'bool':
      return void api[`${setters}Bool`](op, name, attr.value ? 1 : 0);
    case 'int':
      return void api[`${setters}Int`](op, name, BigInt(attr.value));
    case 'ints':
      return void api[`${setters}IntList`](op, name, attr.value.map(BigInt), attr.value.length);
    case 'float':
      return void api[`${setters}Float`](op, name, attr.value);
    case 'string':
      return void api[`${setters}String`](op, name, attr.value, Buffer.byteLength(attr.value));
    case 'shape': {
      const call = [op, name, attr.value.map(BigInt), attr.value.length] as const;
      if (setters === 'TF_SetAttr') return void api.TF_SetAttrShape(...call);
      api.TFE_OpSetAttrShape(...call, status.pointer);
      status.check(`attribute ${name}`);
      return;
    }
    default:
      assertNever(attr);
  }
}
