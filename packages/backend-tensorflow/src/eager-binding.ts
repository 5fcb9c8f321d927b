import { WeftError } from '@weft/common';
import {
  attrsFromTfjs,
  constantBytes,
  dtypeOfTensorflow,
  type TfjsAttr,
  type TfjsBinding,
  type TfjsTensorMetadata,
} from '@weft/tensor';
import { isInferredAttr, opArguments } from './graph/op-inputs.js';
import type { CApi, Pointer } from './native/c-api.js';
import { NativeTensor, Status } from './native/handles.js';
import { encodeSessionConfig } from './native/session-config.js';
import { type AttrTarget, setAttr } from './native/set-attr.js';

/** Executes every op at once through TensorFlow's eager C API: slower than the graph, and easy to step through. */
export class EagerBinding implements TfjsBinding {
  readonly #api: CApi;
  readonly #status: Status;
  readonly #target: AttrTarget;
  readonly #context: Pointer;
  readonly #handles = new Map<number, Pointer>();
  #nextId = 0;
  #isDisposed = false;

  constructor(api: CApi, threads: number) {
    this.#api = api;
    this.#status = new Status(api);
    this.#target = { api, setters: 'TFE_OpSetAttr', status: this.#status };
    const options: Pointer = api.TFE_NewContextOptions();
    const config = encodeSessionConfig({ intraOpThreads: threads, interOpThreads: 1 });
    api.TFE_ContextOptionsSetConfig(options, config, config.length, this.#status.pointer);
    this.#status.check('setting the eager context options');
    this.#context = api.TFE_NewContext(options, this.#status.pointer);
    this.#status.check('opening an eager context');
    api.TFE_DeleteContextOptions(options);
  }

  isUsingGpuDevice(): boolean {
    return false;
  }

  createTensor(shape: number[], dtype: number, values: ArrayBufferView | ArrayBuffer): number {
    const tensor = NativeTensor.allocate(this.#api, dtypeOfTensorflow(dtype), shape);
    tensor.bytes.set(constantBytes(dtype, values));
    const handle: Pointer = this.#api.TFE_NewTensorHandle(tensor.pointer, this.#status.pointer);
    tensor.dispose();
    this.#status.check('making a tensor');
    return this.#own(handle);
  }

  deleteTensor(id: number): void {
    const handle = this.#handles.get(id);
    if (handle === undefined) return;
    this.#handles.delete(id);
    this.#api.TFE_DeleteTensorHandle(handle);
  }

  tensorDataSync(id: number): Float32Array | Int32Array {
    const resolved: Pointer = this.#api.TFE_TensorHandleResolve(this.#handle(id), this.#status.pointer);
    this.#status.check('reading a tensor');
    const tensor = NativeTensor.adopt(this.#api, resolved);
    try {
      return tensor.data.slice();
    } finally {
      tensor.dispose();
    }
  }

  executeOp(
    type: string,
    attrs: readonly TfjsAttr[],
    inputs: readonly number[],
    outputs: number,
  ): TfjsTensorMetadata[] {
    const api = this.#api;
    const op: Pointer = api.TFE_NewOp(this.#context, type, this.#status.pointer);
    this.#status.check(`op ${type}`);
    try {
      for (const argument of opArguments(
        type,
        inputs.map((id) => this.#handle(id)),
      )) {
        if ('single' in argument) api.TFE_OpAddInput(op, argument.single, this.#status.pointer);
        else api.TFE_OpAddInputList(op, argument.list, argument.list.length, this.#status.pointer);
        this.#status.check(`an input of op ${type}`);
      }
      for (const [name, attr] of Object.entries(attrsFromTfjs(attrs))) {
        if (!isInferredAttr(type, name)) setAttr(this.#target, op, name, attr);
      }
      const handles: Pointer[] = new Array(outputs).fill(null);
      const count = [outputs];
      api.TFE_Execute(op, handles, count, this.#status.pointer);
      this.#status.check(`op ${type}`);
      return handles.slice(0, count[0]).map((handle) => this.#describe(handle));
    } finally {
      api.TFE_DeleteOp(op);
    }
  }

  /** Safe to call twice. */
  dispose(): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    for (const id of [...this.#handles.keys()]) this.deleteTensor(id);
    this.#api.TFE_DeleteContext(this.#context);
    this.#status.dispose();
  }

  #own(handle: Pointer): number {
    const id = this.#nextId++;
    this.#handles.set(id, handle);
    return id;
  }

  #handle(id: number): Pointer {
    const handle = this.#handles.get(id);
    if (handle === undefined) throw new WeftError('internal', 'an eager tensor was used after it was freed');
    return handle;
  }

  #describe(handle: Pointer): TfjsTensorMetadata {
    const api = this.#api;
    const rank: number = api.TFE_TensorHandleNumDims(handle, this.#status.pointer);
    const shape = Array.from({ length: rank }, (_, axis) =>
      Number(api.TFE_TensorHandleDim(handle, axis, this.#status.pointer)),
    );
    this.#status.check('reading a shape');
    return { id: this.#own(handle), shape, dtype: Number(api.TFE_TensorHandleDataType(handle)) };
  }
}
