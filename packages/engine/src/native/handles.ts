import { WeftError } from '@weft/common';
import type { HostArray, HostTensor } from '../executor.js';
import type { TensorSpec } from '../program.js';
import { type CApi, type OutputPointer, type Pointer, viewMemory } from './c-api.js';
import { byteSize, DataType } from './data-type.js';
import { RunTrace } from './run-trace.js';
import type { OpTiming } from './step-stats.js';

/** A native object with one owner: freed exactly once, and an error instead of a crash when used afterwards. */
abstract class Handle {
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

/** The result of a C call. Each concurrent call needs its own. */
export class Status extends Handle {
  readonly #api: CApi;

  constructor(api: CApi) {
    super('a TF_Status', api.TF_NewStatus());
    this.#api = api;
  }

  /** @throws WeftError `internal` with TensorFlow's message when the last call failed. */
  check(doing: string): void {
    if (this.#api.TF_GetCode(this.pointer) === 0) return;
    throw new WeftError('internal', `${doing}: ${this.#api.TF_Message(this.pointer)}`);
  }

  protected free(pointer: Pointer): void {
    this.#api.TF_DeleteStatus(pointer);
  }
}

/** A dense tensor in TensorFlow's memory; `data` is a view on it. */
export class NativeTensor extends Handle implements HostTensor {
  readonly spec: TensorSpec;
  readonly dataType: number;
  readonly #api: CApi;
  #data: HostArray | undefined;

  static allocate(api: CApi, dataType: number, shape: readonly number[]): NativeTensor {
    const bytes = byteSize(dataType, shape);
    const pointer: Pointer = api.TF_AllocateTensor(dataType, shape.map(BigInt), shape.length, bytes);
    if (pointer === null) throw new WeftError('internal', `no memory for a tensor of ${bytes} bytes`);
    return new NativeTensor(api, pointer, dataType, shape);
  }

  /** Takes over a tensor that TensorFlow returned. */
  static adopt(api: CApi, pointer: Pointer): NativeTensor {
    const rank = api.TF_NumDims(pointer) as number;
    const shape = Array.from({ length: rank }, (_, axis) => Number(api.TF_Dim(pointer, axis)));
    return new NativeTensor(api, pointer, api.TF_TensorType(pointer) as number, shape);
  }

  private constructor(api: CApi, pointer: Pointer, dataType: number, shape: readonly number[]) {
    super(`a tensor of shape [${shape.join(', ')}]`, pointer);
    this.#api = api;
    this.dataType = dataType;
    this.spec = { shape, dtype: dataType === DataType.float32 ? 'float32' : 'int32' };
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#memory());
  }

  get data(): HostArray {
    this.#data ??= this.#view();
    return this.#data;
  }

  #view(): HostArray {
    switch (this.dataType) {
      case DataType.float32:
        return new Float32Array(this.#memory());
      case DataType.int32:
        return new Int32Array(this.#memory());
      default:
        throw new WeftError('internal', `a tensor of TensorFlow type ${this.dataType} has no host form`);
    }
  }

  #memory(): ArrayBuffer {
    const bytes = Number(this.#api.TF_TensorByteSize(this.pointer));
    return bytes === 0 ? new ArrayBuffer(0) : viewMemory(this.#api.TF_TensorData(this.pointer), bytes);
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

/** Settings of a session and of an eager context: the fields of `ConfigProto` that Weft sets. */
export interface SessionConfig {
  /** Threads inside one op; 0 lets TensorFlow choose. */
  readonly intraOpThreads: number;
  /** Ops that may run at a time; 0 lets TensorFlow choose. */
  readonly interOpThreads: number;
}

/** `ConfigProto` in protobuf wire format: intra_op = 2, inter_op = 5, gpu_options = 6 { allow_growth = 4 }. */
export function encodeSessionConfig(config: SessionConfig): Buffer {
  return Buffer.from([
    0x10,
    ...varint(config.intraOpThreads),
    0x28,
    ...varint(config.interOpThreads),
    0x32,
    2,
    0x20,
    1,
  ]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** A session over a graph: it holds the resident variables. Runs go through the thread pool. */
export class Session extends Handle {
  readonly #api: CApi;

  constructor(api: CApi, graph: Graph, config: SessionConfig) {
    const status = new Status(api);
    const options: Pointer = api.TF_NewSessionOptions();
    try {
      const encoded = encodeSessionConfig(config);
      api.TF_SetConfig(options, encoded, encoded.length, status.pointer);
      status.check('setting the session options');
      const pointer: Pointer = api.TF_NewSession(graph.pointer, options, status.pointer);
      status.check('opening a session');
      super('a TF_Session', pointer);
      this.#api = api;
    } finally {
      api.TF_DeleteSessionOptions(options);
      status.dispose();
    }
  }

  /** Names of the devices that TensorFlow found. */
  devices(): readonly string[] {
    const status = new Status(this.#api);
    const list: Pointer = this.#api.TF_SessionListDevices(this.pointer, status.pointer);
    status.check('listing the devices');
    const count = this.#api.TF_DeviceListCount(list) as number;
    const names = Array.from({ length: count }, (_, i) => String(this.#api.TF_DeviceListName(list, i, status.pointer)));
    this.#api.TF_DeleteDeviceList(list);
    status.dispose();
    return names;
  }

  /** Runs the graph off the main thread; returned tensors belong to the caller. With `onTrace` it times every op. */
  async run(
    feeds: readonly { readonly output: OutputPointer; readonly tensor: NativeTensor }[],
    fetches: readonly OutputPointer[],
    targets: readonly Pointer[],
    doing: string,
    onTrace?: (ops: readonly OpTiming[]) => void,
  ): Promise<NativeTensor[]> {
    const status = new Status(this.#api);
    const trace = onTrace === undefined ? undefined : new RunTrace(this.#api);
    const fetched: Pointer[] = fetches.map(() => null);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#api.TF_SessionRun.async(
          this.pointer,
          trace?.options ?? null,
          feeds.map((feed) => feed.output),
          feeds.map((feed) => feed.tensor.pointer),
          feeds.length,
          fetches,
          fetched,
          fetches.length,
          targets,
          targets.length,
          trace?.metadata ?? null,
          status.pointer,
          (error: unknown) => (error ? reject(error) : resolve()),
        );
      });
      status.check(doing);
      if (trace !== undefined) onTrace?.(trace.read());
      return fetched.map((pointer) => NativeTensor.adopt(this.#api, pointer));
    } finally {
      trace?.dispose();
      status.dispose();
    }
  }

  protected free(pointer: Pointer): void {
    const status = new Status(this.#api);
    this.#api.TF_CloseSession(pointer, status.pointer);
    this.#api.TF_DeleteSession(pointer, status.pointer);
    status.dispose();
  }
}
