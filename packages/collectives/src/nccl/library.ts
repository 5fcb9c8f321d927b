import { promisify } from 'node:util';
import { refuse, WeftError } from '@weft/common';
import { koffi } from '@weft/native';
import type { DeviceSpan } from '@weft/tensor';

/** The two libraries that sums in device memory need. */
export interface NcclFiles {
  /** NVIDIA's `libnccl`, or AMD's `librccl`, which has the same functions. */
  readonly collectives: string;
  /** `libcudart` or `libamdhip64`: devices and streams. */
  readonly runtime: string;
}

/** A pointer of the libraries, as a number. */
export type Address = bigint;

/** Which part of a communicator a process is. */
export interface CommunicatorRank {
  /** A device of this process, from 0. */
  readonly device: number;
  readonly rank: number;
  readonly worldSize: number;
}

/** Of `ncclUniqueId`. */
export const UNIQUE_ID_BYTES = 128;

// Of nccl.h.
const [SUCCESS, IN_PROGRESS] = [0, 7];
const [FLOAT32, SUM] = [7, 0];
/** Of the runtimes: work on this stream waits for no other stream. */
const NON_BLOCKING = 1;
const NOT_READY = 600;
/** The first version whose communicators open without blocking, and whose config is the one below. */
const OLDEST_VERSION = 21_700;
/** <dlfcn.h> of Linux. The libraries' threads outlive `main`, so they stay mapped. */
const [RTLD_NOW, RTLD_GLOBAL, RTLD_NODELETE] = [0x2, 0x100, 0x1000];
/** C writes one value into these. Arrays of 64 bytes and less lie in V8's heap and may move. */
const OUT_ELEMENTS = 32;

/**
 * The functions of NCCL and of the CUDA runtime that Weft calls (RCCL and HIP on AMD). All return at once, but those that
 * return a promise: they wait on a thread of libuv's pool.
 */
export class NcclLibrary {
  /** For people: "NCCL 2.27.7". */
  readonly name: string;
  readonly #nccl: Functions<typeof NCCL_FUNCTIONS>;
  readonly #runtime: Functions<typeof RUNTIME_FUNCTIONS>;

  /** @throws WeftError `native_library` when a file cannot be loaded, lacks a function, or is older than 2.17 */
  constructor({ collectives, runtime }: NcclFiles) {
    const isAmd = runtime.includes('amdhip');
    // NCCL takes the functions of the runtime from the process: the runtime comes first.
    this.#runtime = load(runtime, RUNTIME_FUNCTIONS, isAmd ? 'hip' : 'cuda');
    this.#nccl = load(collectives, NCCL_FUNCTIONS, 'nccl');
    const version = new Int32Array(OUT_ELEMENTS);
    this.#check(this.#nccl.GetVersion(version));
    this.name = `${isAmd ? 'RCCL' : 'NCCL'} ${versionText(version[0]!)}`;
    if (version[0]! < OLDEST_VERSION) {
      throw new WeftError('native_library', `${collectives} is ${this.name}; Weft needs 2.17 or later`, {
        hint: RING_HINT,
      });
    }
  }

  /** @throws WeftError `native_library` where no driver or no device is */
  deviceCount(): number {
    const count = new Int32Array(OUT_ELEMENTS);
    this.#checkRuntime(this.#runtime.GetDeviceCount(count));
    return count[0]!;
  }

  createStream(device: number): Address {
    const out = new BigUint64Array(OUT_ELEMENTS);
    this.#checkRuntime(this.#runtime.SetDevice(device));
    this.#checkRuntime(this.#runtime.StreamCreateWithFlags(out, NON_BLOCKING));
    return out[0]!;
  }

  /** Resolves when everything on the stream is over. */
  async synchronize(stream: Address): Promise<void> {
    this.#checkRuntime(await onThread(this.#runtime.StreamSynchronize, stream));
  }

  /** Whether everything on the stream is over, without waiting for it. */
  isIdle(stream: Address): boolean {
    const result: number = this.#runtime.StreamQuery(stream);
    if (result === NOT_READY) return false;
    this.#checkRuntime(result);
    return true;
  }

  /** Sets float32 values of a device to 0, once its stream comes to it. */
  clear({ device, address, elements }: DeviceSpan, stream: Address): void {
    this.#checkRuntime(this.#runtime.SetDevice(device));
    this.#checkRuntime(this.#runtime.MemsetAsync(address, 0, elements * Float32Array.BYTES_PER_ELEMENT, stream));
  }

  async destroyStream(stream: Address): Promise<void> {
    this.#checkRuntime(await onThread(this.#runtime.StreamDestroy, stream));
  }

  /** The name of a new communicator. One rank makes it and tells the others. */
  uniqueId(): Uint8Array {
    const id = new Uint8Array(UNIQUE_ID_BYTES);
    this.#check(this.#nccl.GetUniqueId(id));
    return id;
  }

  /** Begins to open a communicator; `isReady` says when it is open. */
  beginCommunicator(id: Uint8Array, { device, rank, worldSize }: CommunicatorRank): Address {
    if (id.length !== UNIQUE_ID_BYTES) refuse('corrupt_data', `the id of a communicator has ${id.length} bytes`);
    const out = new BigUint64Array(OUT_ELEMENTS);
    this.#checkRuntime(this.#runtime.SetDevice(device));
    this.#check(this.#nccl.CommInitRankConfig(out, worldSize, { bytes: id }, rank, nonBlockingConfig()));
    return out[0]!;
  }

  /** Whether what was begun on a communicator has been started, or it is open. @throws WeftError what went wrong there */
  isReady(communicator: Address): boolean {
    const state = new Int32Array(OUT_ELEMENTS);
    this.#check(this.#nccl.CommGetAsyncError(communicator, state));
    this.#check(state[0]!, communicator);
    return state[0] === SUCCESS;
  }

  /** The calls in it are one operation, in which nobody waits for the order of another rank. */
  group(calls: () => void): void {
    this.#check(this.#nccl.GroupStart());
    try {
      calls();
    } finally {
      this.#check(this.#nccl.GroupEnd());
    }
  }

  /** Replaces float32 values by their sums over all ranks, once the stream comes to it. */
  allReduceSum(address: Address, elements: number, communicator: Address, stream: Address): void {
    this.#check(this.#nccl.AllReduce(address, address, elements, FLOAT32, SUM, communicator, stream), communicator);
  }

  send(address: Address, elements: number, peer: number, communicator: Address, stream: Address): void {
    this.#check(this.#nccl.Send(address, elements, FLOAT32, peer, communicator, stream), communicator);
  }

  receive(address: Address, elements: number, peer: number, communicator: Address, stream: Address): void {
    this.#check(this.#nccl.Recv(address, elements, FLOAT32, peer, communicator, stream), communicator);
  }

  /** Frees a communicator and ends what it is doing. No other rank is needed for it. */
  async abortCommunicator(communicator: Address): Promise<void> {
    this.#check(await onThread(this.#nccl.CommAbort, communicator));
  }

  /** An error of a communicator is nearly always that a peer or the network between is gone. */
  #check(result: number, communicator?: Address): void {
    if (result === SUCCESS || result === IN_PROGRESS) return;
    const details = String(this.#nccl.GetLastError(communicator ?? 0n) ?? '').trim();
    const text = `${this.#nccl.GetErrorString(result)}${details === '' ? '' : `: ${details}`}`;
    throw new WeftError(communicator === undefined ? 'native_library' : 'unavailable', `${this.name}: ${text}`, {
      hint: RING_HINT,
    });
  }

  #checkRuntime(result: number): void {
    if (result === SUCCESS) return;
    throw new WeftError('native_library', `the GPU's runtime: ${this.#runtime.GetErrorString(result)}`, {
      hint: RING_HINT,
    });
  }
}

const RING_HINT = 'check the GPUs with nvidia-smi, or set engine.collectives to ring';

/** The prototypes of functions, without the prefix of their library; addresses are numbers. */
const NCCL_FUNCTIONS = {
  GetVersion: ['int', 'void*'],
  GetErrorString: ['const char*', 'int'],
  GetLastError: ['const char*', 'uint64'],
  GetUniqueId: ['int', 'void*'],
  CommInitRankConfig: ['int', 'void*, int, WeftNcclId, int, void*'],
  CommGetAsyncError: ['int', 'uint64, void*'],
  CommAbort: ['int', 'uint64'],
  GroupStart: ['int', ''],
  GroupEnd: ['int', ''],
  AllReduce: ['int', 'uint64, uint64, size_t, int, int, uint64, uint64'],
  Send: ['int', 'uint64, size_t, int, int, uint64, uint64'],
  Recv: ['int', 'uint64, size_t, int, int, uint64, uint64'],
} as const;

const RUNTIME_FUNCTIONS = {
  GetDeviceCount: ['int', 'void*'],
  SetDevice: ['int', 'int'],
  GetErrorString: ['const char*', 'int'],
  StreamCreateWithFlags: ['int', 'void*, uint'],
  StreamSynchronize: ['int', 'uint64'],
  StreamQuery: ['int', 'uint64'],
  MemsetAsync: ['int', 'uint64, int, size_t, uint64'],
  StreamDestroy: ['int', 'uint64'],
} as const;

type Prototypes = Readonly<Record<string, readonly [result: string, parameters: string]>>;
// biome-ignore lint/suspicious/noExplicitAny: what a function of C takes and gives is checked where it is wrapped above.
type Native = ((...args: any[]) => any) & { async(...args: any[]): void };
type Functions<P extends Prototypes> = Readonly<Record<keyof P, Native>>;

function load<P extends Prototypes>(file: string, prototypes: P, prefix: string): Functions<P> {
  defineId();
  try {
    const program = koffi().load(null);
    const pinned: unknown = program.func('void* dlopen(const char*, int)')(
      file,
      RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE,
    );
    if (pinned === null) throw new Error(String(program.func('const char* dlerror()')()));
    const library = koffi().load(file);
    const bound = Object.entries(prototypes).map(([name, [result, parameters]]) => [
      name,
      library.func(`${result} ${prefix}${name}(${parameters})`),
    ]);
    return Object.fromEntries(bound);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new WeftError('native_library', `${file} cannot be used: ${why}`, { cause, hint: RING_HINT });
  }
}

let isIdDefined = false;

/** `ncclUniqueId`, which is passed by value. */
function defineId(): void {
  if (isIdDefined) return;
  koffi().struct('WeftNcclId', { bytes: koffi().array('uint8', UNIQUE_ID_BYTES) });
  isIdDefined = true;
}

function onThread(call: Native, address: Address): Promise<number> {
  return promisify<Address, number>(call.async)(address);
}

/**
 * `ncclConfig_t` of version 2.17: no call blocks, everything else as NCCL chooses. Later versions take the fields that a
 * shorter struct lacks from their defaults.
 */
function nonBlockingConfig(): Uint8Array {
  const [undefinedInt, magic, blocking] = [-(2 ** 31), 0xcafebeef, 0];
  const bytes = 40;
  const config = new DataView(new ArrayBuffer(4 * bytes));
  config.setBigUint64(0, BigInt(bytes), true);
  config.setUint32(8, magic, true);
  config.setUint32(12, OLDEST_VERSION, true);
  config.setInt32(16, blocking, true);
  // cgaClusterSize, minCTAs, maxCTAs; after them the null pointer netName.
  for (const field of [20, 24, 28]) config.setInt32(field, undefinedInt, true);
  return new Uint8Array(config.buffer);
}

/** From 2.9 on, versions are major · 10000 + minor · 100 + patch. */
function versionText(version: number): string {
  return `${Math.floor(version / 10_000)}.${Math.floor(version / 100) % 100}.${version % 100}`;
}
