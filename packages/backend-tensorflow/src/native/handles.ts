import { refuse, WeftError } from '@weft/common';
import {
  arrayOf,
  byteSize,
  type DType,
  dtypeOfTensorflow,
  type HostArray,
  type HostTensor,
  TENSORFLOW_DTYPES,
  type TensorSpec,
} from '@weft/tensor';
import type { CApi, Pointer } from './c-api.js';
import { nativeBytes } from './native-memory-views.js';

/** A native object with one owner: freed exactly once, and an error instead of a crash when used afterwards. */
export abstract class Handle {
  #pointer: Pointer | undefined;
  readonly #what: string;

  constructor(what: string, pointer: Pointer) {
    this.#what = what;
    this.#pointer = pointer;
  }

  get pointer(): Pointer {
    if (this.#pointer === undefined) throw new WeftError('internal', `${this.#what} was used after it was freed`);
    return this.#pointer;
  }

  dispose(): void {
    if (this.#pointer === undefined) return;
    const pointer = this.#pointer;
    this.#pointer = undefined;
    this.free(pointer);
  }

  protected abstract free(pointer: Pointer): void;
}

/** Of TF_Code in tsl_status.h. */
const TF_OK = 0;
const TF_RESOURCE_EXHAUSTED = 8;
const LESS_MEMORY = 'lower microbatchSize, set activationCheckpointing, or use a device with more memory';

/** The result of a C call. Each concurrent call needs its own. */
export class Status extends Handle {
  readonly #api: CApi;

  constructor(api: CApi) {
    super('a TF_Status', api.TF_NewStatus());
    this.#api = api;
  }

  /** @throws WeftError with TensorFlow's message when the last call failed: `failed_precondition` without memory, else `internal`. */
  check(doing: string): void {
    const code: number = this.#api.TF_GetCode(this.pointer);
    if (code === TF_OK) return;
    const message = `${doing}: ${this.#api.TF_Message(this.pointer)}`;
    if (code === TF_RESOURCE_EXHAUSTED) refuse('failed_precondition', message, LESS_MEMORY);
    throw new WeftError('internal', message);
  }

  protected free(pointer: Pointer): void {
    this.#api.TF_DeleteStatus(pointer);
  }
}

/** A dense tensor in TensorFlow's memory; `data` is a view on it. */
export class NativeTensor extends Handle implements HostTensor {
  readonly spec: TensorSpec;
  readonly dtype: DType;
  readonly #api: CApi;
  #data: HostArray | undefined;

  static allocate(api: CApi, dtype: DType, shape: readonly number[]): NativeTensor {
    const bytes = byteSize(dtype, shape);
    const pointer: Pointer = api.TF_AllocateTensor(TENSORFLOW_DTYPES[dtype], shape.map(BigInt), shape.length, bytes);
    if (pointer === null) refuse('failed_precondition', `no memory for a tensor of ${bytes} bytes`, LESS_MEMORY);
    return new NativeTensor(api, pointer, dtype, shape);
  }

  /** Takes over a tensor that TensorFlow returned. */
  static adopt(api: CApi, pointer: Pointer): NativeTensor {
    const rank: number = api.TF_NumDims(pointer);
    const shape = Array.from({ length: rank }, (_, axis) => Number(api.TF_Dim(pointer, axis)));
    return new NativeTensor(api, pointer, dtypeOfTensorflow(api.TF_TensorType(pointer)), shape);
  }

  private constructor(api: CApi, pointer: Pointer, dtype: DType, shape: readonly number[]) {
    super(`a tensor of shape [${shape.join(', ')}]`, pointer);
    this.#api = api;
    this.dtype = dtype;
    this.spec = { shape, dtype: dtype === 'float32' ? 'float32' : 'int32' };
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return nativeBytes(this.#api.TF_TensorData(this.pointer), Number(this.#api.TF_TensorByteSize(this.pointer)));
  }

  get data(): HostArray {
    this.#data ??= this.#view();
    return this.#data;
  }

  #view(): HostArray {
    const { buffer, byteOffset, byteLength } = this.bytes;
    switch (this.dtype) {
      case 'float32':
        return new Float32Array(buffer, byteOffset, byteLength / Float32Array.BYTES_PER_ELEMENT);
      case 'int32':
        return new Int32Array(buffer, byteOffset, byteLength / Int32Array.BYTES_PER_ELEMENT);
      default:
        throw new WeftError('internal', `a tensor of ${this.dtype} has no host form`);
    }
  }

  protected free(pointer: Pointer): void {
    this.#data = undefined;
    this.#api.TF_DeleteTensor(pointer);
  }
}

/** A `TF_Graph`. */
export class Graph extends Handle {
  readonly #api: CApi;

  constructor(api: CApi) {
    super('a TF_Graph', api.TF_NewGraph());
    this.#api = api;
  }

  protected free(pointer: Pointer): void {
    this.#api.TF_DeleteGraph(pointer);
  }
}

/** The value in TensorFlow's memory: itself where it lies there already, else a copy that `owned` is to free. */
export function toNativeTensor(
  api: CApi,
  spec: TensorSpec,
  value: HostTensor | HostArray,
  owned: NativeTensor[],
): NativeTensor {
  if (value instanceof NativeTensor && value.spec.shape.join() === spec.shape.join()) return value;
  const tensor = NativeTensor.allocate(api, spec.dtype, spec.shape);
  owned.push(tensor);
  tensor.data.set(arrayOf(value));
  return tensor;
}
