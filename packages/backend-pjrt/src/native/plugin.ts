import { type ErrorCode, WeftError } from '@weft/common';
import { koffi } from '@weft/native';
import pLimit from 'p-limit';
import { API, ERROR_CODE, FUNCTIONS, type FunctionName } from './functions.js';
import { type NamedValues, readNamedValues } from './named-values.js';
import {
  copyFrom,
  type Pointer,
  pointersFrom,
  Struct,
  type StructInputs,
  type StructValues,
  textFrom,
} from './struct.js';

type Inputs<N extends FunctionName> = StructInputs<(typeof FUNCTIONS)[N]['fields']>;
type Outputs<N extends FunctionName> = StructValues<(typeof FUNCTIONS)[N]['fields']>;

/** `PJRT_Error* PJRT_Function(PJRT_Function_Args*)`: every function of the interface has this form. */
interface NativeFunction {
  (args: Uint8Array): Pointer | null;
  async(args: Uint8Array, done: (failure: unknown, error: Pointer | null) => void): void;
}

/** Calls on other threads at a time: as many as libuv has threads by default. koffi refuses more than it has room for. */
const THREADS = 4;

// <dlfcn.h> of Linux.
const [RTLD_NOW, RTLD_NODELETE] = [0x2, 0x1000];

const loaded = new Map<string, Plugin>();

/**
 * Loads a plugin once for the rest of the process's life. It is pinned in memory: its threads outlive `main`, and
 * unmapping their code at exit is a crash.
 * @param path absolute, of a shared object that exports `GetPjrtApi`
 * @throws WeftError `native_library` when it cannot be loaded or has another interface
 */
export function loadPlugin(path: string): Plugin {
  const earlier = loaded.get(path);
  if (earlier !== undefined) return earlier;
  const plugin = new Plugin(path);
  plugin.call('Plugin_Initialize', {});
  loaded.set(path, plugin);
  return plugin;
}

/** A plugin's table of functions. */
export class Plugin {
  readonly path: string;
  /** Of the interface: "0.115". */
  readonly apiVersion: string;
  readonly #table: readonly Pointer[];
  readonly #functions = new Map<FunctionName, NativeFunction>();
  readonly #threads = pLimit(THREADS);

  /** Use `loadPlugin`. */
  constructor(path: string) {
    const { version, table } = readApi(path);
    this.path = path;
    this.apiVersion = version;
    this.#table = table;
  }

  /**
   * Calls a function on this thread: one that returns at once.
   * @returns the fields of its struct
   * @throws WeftError with the plugin's text
   */
  call<N extends FunctionName>(name: N, inputs: Inputs<N>): Outputs<N> {
    const struct = new Struct(FUNCTIONS[name].fields as (typeof FUNCTIONS)[N]['fields'], inputs);
    this.#check(name, this.#function(name)(struct.bytes));
    return struct.values();
  }

  /** The same on a thread of libuv's pool; the event loop goes on meanwhile. */
  callAsync<N extends FunctionName>(name: N, inputs: Inputs<N>): Promise<Outputs<N>> {
    return this.#threads(() => this.#callOnThread(name, inputs));
  }

  #callOnThread<N extends FunctionName>(name: N, inputs: Inputs<N>): Promise<Outputs<N>> {
    const struct = new Struct(FUNCTIONS[name].fields as (typeof FUNCTIONS)[N]['fields'], inputs);
    return new Promise((resolve, reject) => {
      this.#function(name).async(struct.bytes, (failure, error) => {
        try {
          if (failure) throw failure;
          this.#check(name, error);
          resolve(struct.values());
        } catch (thrown) {
          reject(thrown);
        }
      });
    });
  }

  /**
   * Waits for an event and destroys it.
   * @param event 0n for one that need not be waited for
   * @throws WeftError what went wrong in the work behind it
   */
  async finished(event: Pointer): Promise<void> {
    if (event === 0n) return;
    try {
      const isReady = this.call('Event_IsReady', { event }).isReady;
      if (isReady) this.call('Event_Await', { event });
      else await this.callAsync('Event_Await', { event });
    } finally {
      this.call('Event_Destroy', { event });
    }
  }

  /** Calls a function that the plugin gave us: `void (*)(void*)`. */
  callBack(callback: Pointer, argument: Pointer): void {
    koffi().call(callback, deleterPrototype(), argument);
  }

  /** What it tells of itself, such as `stablehlo_current_version`. */
  attributes(): NamedValues {
    const { attributes, attributeCount } = this.call('Plugin_Attributes', {});
    return readNamedValues(attributes, attributeCount);
  }

  #function(name: FunctionName): NativeFunction {
    const known = this.#functions.get(name);
    if (known !== undefined) return known;
    const address = this.#table[FUNCTIONS[name].index] ?? 0n;
    if (address === 0n) {
      throw new WeftError('native_library', `the plugin ${this.path} (API ${this.apiVersion}) has no PJRT_${name}`, {
        hint: NEWER_PLUGIN,
      });
    }
    const native: NativeFunction = koffi().decode(address, functionPrototype());
    this.#functions.set(name, native);
    return native;
  }

  #check(name: FunctionName, error: Pointer | null): void {
    if (error === null || error === 0n) return;
    // These two return nothing and cannot fail.
    const tell = <N extends 'Error_Message' | 'Error_GetCode'>(about: N) => {
      const struct = new Struct(FUNCTIONS[about].fields as (typeof FUNCTIONS)[N]['fields'], { error } as Inputs<N>);
      this.#function(about)(struct.bytes);
      return struct.values();
    };
    const { text, textSize } = tell('Error_Message');
    const message = textFrom(text, textSize);
    const { code } = tell('Error_GetCode');
    this.#function('Error_Destroy')(new Struct(FUNCTIONS.Error_Destroy.fields, { error }).bytes);
    throw pluginError(name, message, code);
  }
}

const NEWER_PLUGIN = `take a plugin whose API is ${API.major}.${API.oldestMinor} or newer`;

/** Errors that are about the caller or the program, whatever was called. */
const CODES: Readonly<Record<number, ErrorCode>> = {
  [ERROR_CODE.invalidArgument]: 'invalid_argument',
  [ERROR_CODE.notFound]: 'not_found',
  [ERROR_CODE.failedPrecondition]: 'failed_precondition',
};

/** Calls that move data or compute: an error of the plugin's own there is the device's. */
const ON_DEVICE: ReadonlySet<FunctionName> = new Set([
  'LoadedExecutable_Execute',
  'Event_Await',
  'Buffer_ToHostBuffer',
  'Client_BufferFromHostBuffer',
]);

/** A plugin's error in Weft's codes, as one sentence. Compilers and misuse get all their words, a device its first line. */
function pluginError(name: FunctionName, message: string, code: number): WeftError {
  const [firstLine = ''] = message.split('\n', 1);
  if (code === ERROR_CODE.resourceExhausted) {
    return new WeftError('out_of_memory', `the device is out of memory (PJRT_${name}: ${firstLine})`, {
      hint: 'make microbatchSize smaller, set activationCheckpointing to full, or end what else uses the device',
    });
  }
  const known = CODES[code];
  if (name === 'Client_Create' && known !== 'invalid_argument') {
    return new WeftError('native_library', `the PJRT plugin opened no device: ${firstLine}`, {
      hint: 'see that nvidia-smi or rocm-smi lists a device that is free, or set engine.backend to tensorflow',
    });
  }
  if (known === undefined && ON_DEVICE.has(name)) {
    return new WeftError('device_failed', `the device failed (PJRT_${name}: ${firstLine})`, {
      hint: 'look at it with nvidia-smi or rocm-smi and in the log of the kernel, then start the worker again',
    });
  }
  return new WeftError(known ?? 'internal', `PJRT_${name}: ${message}`);
}

/** Bytes of `PJRT_Api` before its table: struct_size, extension_start, and the version in a struct of its own. */
const API_HEADER_BYTES = 40;
const VERSION_OFFSET = { major: 32, minor: 36 } as const;

function readApi(path: string): { readonly version: string; readonly table: readonly Pointer[] } {
  const api = openLibrary(path);
  const header = new DataView(copyFrom(api, API_HEADER_BYTES).buffer);
  const [major, minor] = [header.getInt32(VERSION_OFFSET.major, true), header.getInt32(VERSION_OFFSET.minor, true)];
  const version = `${major}.${minor}`;
  if (major !== API.major || minor < API.oldestMinor) {
    throw new WeftError('native_library', `the plugin ${path} has API ${version}, which Weft does not speak`, {
      hint: NEWER_PLUGIN,
    });
  }
  const tableBytes = Number(header.getBigUint64(0, true)) - API_HEADER_BYTES;
  return { version, table: pointersFrom(api + BigInt(API_HEADER_BYTES), Math.floor(tableBytes / 8)) };
}

/** @returns the address of the plugin's `PJRT_Api` */
function openLibrary(path: string): Pointer {
  const program = koffi().load(null);
  const hint = 'set WEFT_PJRT_PLUGIN to a PJRT plugin for this machine, or unset it';
  if (!program.func('void* dlopen(const char*, int)')(path, RTLD_NOW | RTLD_NODELETE)) {
    const reason = String(program.func('const char* dlerror()')());
    throw new WeftError('native_library', `the PJRT plugin could not be loaded: ${reason}`, { hint });
  }
  try {
    return koffi().load(path).func('void* GetPjrtApi()')();
  } catch (cause) {
    throw new WeftError('native_library', `${path} is not a PJRT plugin: it exports no GetPjrtApi`, { cause, hint });
  }
}

const prototypes = new Map<string, ReturnType<ReturnType<typeof koffi>['proto']>>();

function prototype(definition: string) {
  const known = prototypes.get(definition) ?? koffi().proto(definition);
  prototypes.set(definition, known);
  return known;
}

const functionPrototype = () => prototype('void* PJRT_Function(void*)');
const deleterPrototype = () => prototype('void PJRT_Deleter(void*)');
