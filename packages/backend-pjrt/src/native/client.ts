import { WeftError } from '@weft/common';
import { drivesGpus } from './client-options.js';
import { type CompileOptions, compileArguments } from './compile-options.js';
import { DeviceBuffer, type HostData } from './device-buffer.js';
import { Executable } from './executable.js';
import { ELEMENT_TYPE, type ElementType, UNCHANGED_UNTIL_TRANSFERRED } from './functions.js';
import { Handle, Scope } from './handle.js';
import { type NamedInputs, namedValueStructs } from './named-values.js';
import { loadPlugin, type Plugin } from './plugin.js';
import { type Pointer, pointersFrom, textFrom } from './struct.js';

/** Settings of a plugin's client, such as `cpu_device_count`, `memory_fraction` and `visible_devices`. */
export type ClientOptions = NamedInputs;

/** A device of this process. It lives as long as its client. */
export interface Device {
  readonly id: number;
  /** "NVIDIA H100 80GB HBM3", "cpu". */
  readonly kind: string;
  readonly pointer: Pointer;
}

/** Bytes of a device's memory; undefined where the plugin does not tell. */
export interface DeviceMemory {
  readonly inUse: number;
  readonly limit: number | undefined;
  readonly peak: number | undefined;
}

/** What the devices of a plugin are reached through. It owns its buffers and executables: closing it frees them. */
export class Client extends Handle {
  /** "cpu", "cuda", "rocm". */
  readonly platform: string;
  /** For people, and for what compiled programs depend on. */
  readonly platformVersion: string;
  readonly devices: readonly Device[];
  readonly plugin: Plugin;
  readonly #scope: Scope;

  /**
   * Opens the devices, off the main thread.
   * @throws WeftError when the plugin finds none or does not know an option
   */
  static async open(plugin: Plugin, options: ClientOptions = {}): Promise<Client> {
    const named = namedValueStructs(options);
    try {
      const { client } = await plugin.callAsync('Client_Create', { options: named, optionCount: named.length });
      return new Client(plugin, client);
    } catch (thrown) {
      const { code, message, hint } = WeftError.from(thrown);
      if (code !== 'invalid_argument') throw thrown;
      const names = Object.keys(options).join(', ');
      throw new WeftError(code, message, {
        cause: thrown,
        hint: hint ?? `leave out what this plugin does not know of ${names}`,
      });
    }
  }

  private constructor(plugin: Plugin, pointer: Pointer) {
    const scope = new Scope(plugin);
    super('a PJRT client', pointer, scope);
    this.#scope = scope;
    this.plugin = plugin;
    const platform = plugin.call('Client_PlatformName', { client: pointer });
    this.platform = textFrom(platform.text, platform.textSize);
    const version = plugin.call('Client_PlatformVersion', { client: pointer });
    this.platformVersion = textFrom(version.text, version.textSize);
    const { devices, deviceCount } = plugin.call('Client_AddressableDevices', { client: pointer });
    this.devices = pointersFrom(devices, deviceCount).map((device) => describeDevice(plugin, device));
  }

  /** @throws WeftError `native_library` when this process has no device. */
  get firstDevice(): Device {
    const [device] = this.devices;
    if (device === undefined) throw new WeftError('native_library', `the plugin ${this.plugin.path} has no device`);
    return device;
  }

  /** Undefined where the plugin keeps no account, as on CPUs. */
  memoryOf(device: Device): DeviceMemory | undefined {
    try {
      const stats = this.plugin.call('Device_MemoryStats', { device: device.pointer });
      return {
        inUse: stats.bytesInUse,
        limit: stats.hasBytesLimit ? stats.bytesLimit : undefined,
        peak: stats.hasPeakBytesInUse ? stats.peakBytesInUse : undefined,
      };
    } catch {
      return undefined;
    }
  }

  /**
   * Compiles StableHLO text, off the main thread.
   * @throws WeftError with the compiler's words when it is not well formed
   */
  async compile(stablehlo: string, options?: CompileOptions): Promise<Executable> {
    return this.#scope.during([this], async () => {
      const { executable } = await this.plugin.callAsync('Client_Compile', {
        client: this.pointer,
        ...compileArguments(stablehlo, options),
      });
      return new Executable(executable, this.#scope);
    });
  }

  /**
   * Loads what `Executable.serialize` gave, off the main thread.
   * @throws WeftError when the plugin does not take it
   */
  async load(serialized: Uint8Array): Promise<Executable> {
    return this.#scope.during([this], async () => {
      const { executable } = await this.plugin.callAsync('Executable_DeserializeAndLoad', {
        client: this.pointer,
        bytes: serialized,
        byteCount: serialized.length,
      });
      return new Executable(executable, this.#scope);
    });
  }

  /**
   * Copies an array to a device. It must not change until the promise resolves.
   * @param device default: the first one
   */
  async upload(
    data: HostData,
    shape: readonly number[],
    elementType: ElementType,
    device = this.firstDevice,
  ): Promise<DeviceBuffer> {
    return this.#scope.during([this], async () => {
      const { buffer, doneWithHostBuffer } = this.plugin.call('Client_BufferFromHostBuffer', {
        client: this.pointer,
        data,
        elementType: ELEMENT_TYPE[elementType],
        dimensions: BigInt64Array.from(shape, BigInt),
        rank: shape.length,
        semantics: UNCHANGED_UNTIL_TRANSFERRED,
        device: device.pointer,
      });
      const made = new DeviceBuffer(buffer, this.#scope);
      await this.plugin.finished(doneWithHostBuffer);
      return made;
    });
  }

  /** Memory on a device for what comes from elsewhere, see `DeviceBuffer.lend`; its elements are undefined. */
  allocate(shape: readonly number[], elementType: ElementType, device = this.firstDevice): DeviceBuffer {
    const { buffer } = this.plugin.call('Client_CreateUninitializedBuffer', {
      client: this.pointer,
      dimensions: BigInt64Array.from(shape, BigInt),
      rank: shape.length,
      elementType: ELEMENT_TYPE[elementType],
      device: device.pointer,
    });
    return new DeviceBuffer(buffer, this.#scope);
  }

  /** Waits for what is under way, then frees buffers, executables and the client itself. Safe to call twice. */
  async close(): Promise<void> {
    await this.#scope.close();
  }

  protected destroy(client: Pointer): void {
    this.plugin.call('Client_Destroy', { client });
  }
}

/** What a plugin drives on this host, for people. */
export interface DeviceSummary {
  /** Of PJRT: "0.115". */
  readonly apiVersion: string;
  readonly platform: string;
  readonly kinds: readonly string[];
  /** Bytes of memory of the first device; undefined where the plugin does not tell. */
  readonly memoryBytes: number | undefined;
}

/** Opens the devices of a plugin for a moment. @throws WeftError what the plugin says when it finds none */
export async function describeDevices(path: string): Promise<DeviceSummary> {
  // A look must not take the memory that a run is using.
  const client = await Client.open(loadPlugin(path), drivesGpus(path) ? { preallocate: false } : {});
  try {
    const { platform, plugin, devices, firstDevice } = client;
    const memoryBytes = client.memoryOf(firstDevice)?.limit;
    return { apiVersion: plugin.apiVersion, platform, kinds: devices.map(({ kind }) => kind), memoryBytes };
  } finally {
    await client.close();
  }
}

function describeDevice(plugin: Plugin, device: Pointer): Device {
  const { description } = plugin.call('Device_GetDescription', { device });
  const kind = plugin.call('DeviceDescription_Kind', { description });
  const { id } = plugin.call('DeviceDescription_Id', { description });
  return { id, kind: textFrom(kind.text, kind.textSize), pointer: device };
}
