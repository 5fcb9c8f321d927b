import { DeviceBuffer } from './device-buffer.js';
import { STRUCTS } from './functions.js';
import { Handle, type Scope } from './handle.js';
import type { Plugin } from './plugin.js';
import { copyFrom, type Pointer, Struct } from './struct.js';

/** What an executable takes of a device's memory, in bytes. */
export interface ExecutableMemory {
  readonly code: number;
  readonly arguments: number;
  readonly outputs: number;
  /** Of the outputs, what lies in the memory of donated arguments. */
  readonly aliases: number;
  readonly temporaries: number;
}

/** Results of an execution: the buffers are there at once, and filled when `done` resolves. */
export interface Execution<Outputs = readonly DeviceBuffer[]> {
  /** The caller frees them. */
  readonly outputs: Outputs;
  /** @throws WeftError what went wrong while it ran */
  readonly done: Promise<void>;
}

/** A compiled program. */
export class Executable extends Handle {
  readonly outputCount: number;
  readonly #scope: Scope;

  constructor(pointer: Pointer, scope: Scope) {
    super('an executable', pointer, scope);
    this.#scope = scope;
    this.outputCount = this.#described((executable) =>
      scope.plugin.call('Executable_NumOutputs', { executable }),
    ).outputCount;
  }

  get memory(): ExecutableMemory {
    return this.#described((executable) => readExecutableMemory(this.#scope.plugin, executable));
  }

  /** Its compiled form, which `Client.load` of the same plugin and kind of device takes. */
  serialize(): Uint8Array {
    const { plugin } = this.#scope;
    return this.#described((executable) => {
      const { bytes, byteCount, serialized, deleter } = plugin.call('Executable_Serialize', { executable });
      try {
        return copyFrom(bytes, byteCount);
      } finally {
        plugin.callBack(deleter, serialized);
      }
    });
  }

  /** The same on the one device that it was compiled for. */
  async execute(inputs: readonly DeviceBuffer[]): Promise<Execution> {
    const { outputs, done } = await this.executeOnDevices([inputs]);
    return { outputs: outputs[0] ?? [], done };
  }

  /**
   * Starts a run, off the main thread, and resolves when it is on its way. Arguments that the program donates are
   * deleted on the device; the caller still frees their handles.
   * @param inputs for every device that it was compiled for, in their order; of an array that is cut, its shard
   * @returns outputs by device in the same way
   * @throws WeftError when number, shapes or types of the arguments are wrong, or one was donated before
   */
  async executeOnDevices(
    inputs: readonly (readonly DeviceBuffer[])[],
  ): Promise<Execution<readonly (readonly DeviceBuffer[])[]>> {
    const { plugin } = this.#scope;
    return this.#scope.during([this, ...inputs.flat()], async () => {
      const outputLists = inputs.map(() => new BigUint64Array(this.outputCount));
      const doneEvents = new BigUint64Array(inputs.length);
      await plugin.callAsync('LoadedExecutable_Execute', {
        executable: this.pointer,
        options: new Struct(STRUCTS.ExecuteOptions, {}),
        argumentLists: inputs.map((list) => BigUint64Array.from(list, ({ pointer }) => pointer)),
        deviceCount: inputs.length,
        argumentCount: inputs[0]?.length ?? 0,
        outputLists,
        doneEvents,
      });
      const outputs = outputLists.map((list) => [...list].map((pointer) => new DeviceBuffer(pointer, this.#scope)));
      const done = this.#scope.during([], async () => {
        await Promise.all([...doneEvents].map((event) => plugin.finished(event)));
      });
      // Whoever reads the outputs meets the failure there too.
      done.catch(() => {});
      return { outputs, done };
    });
  }

  /** Runs a call over the description of the program behind the loaded executable. */
  #described<T>(call: (executable: Pointer) => T): T {
    const { plugin } = this.#scope;
    const { executable } = plugin.call('LoadedExecutable_GetExecutable', { loaded: this.pointer });
    try {
      return call(executable);
    } finally {
      plugin.call('Executable_Destroy', { executable });
    }
  }

  protected destroy(executable: Pointer): void {
    this.#scope.plugin.call('LoadedExecutable_Destroy', { executable });
  }
}

export function readExecutableMemory(plugin: Plugin, executable: Pointer): ExecutableMemory {
  const stats = plugin.call('Executable_GetCompiledMemoryStats', { executable });
  const { code, arguments: inputs, outputs, aliases, temporaries } = stats;
  return { code, arguments: inputs, outputs, aliases, temporaries };
}
