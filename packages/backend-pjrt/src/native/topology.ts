import { type CompileOptions, compileArguments } from './compile-options.js';
import { type ExecutableMemory, readExecutableMemory } from './executable.js';
import { STRUCTS } from './functions.js';
import { Handle, Scope } from './handle.js';
import { type NamedValues, namedValueStructs, readNamedValues } from './named-values.js';
import type { Plugin } from './plugin.js';
import { type Pointer, Struct, textBytes } from './struct.js';

/** GPUs that programs are compiled for, and that need not be there. */
export interface TopologyShape {
  /** The text of a chip: XLA's `GpuTargetConfigProto`. */
  readonly targetConfig: string;
  readonly hosts: number;
  readonly gpusPerHost: number;
}

/** A description of devices without the devices. It owns what is compiled for it: closing it frees that too. */
export class Topology extends Handle {
  readonly deviceCount: number;
  readonly #scope: Scope;

  /** @throws WeftError when the plugin does not compile ahead, or does not understand the chip */
  constructor(plugin: Plugin, { targetConfig, hosts, gpusPerHost }: TopologyShape) {
    const name = textBytes('weft');
    // The plugin's word for a topology: slices x hosts of a slice x GPUs of a host.
    const options = namedValueStructs({ target_config: targetConfig, topology: `1x${hosts}x${gpusPerHost}` });
    const { topology } = plugin.call('TopologyDescription_Create', {
      name,
      nameSize: name.length,
      options,
      optionCount: options.length,
    });
    const scope = new Scope(plugin);
    super('a topology', topology, scope);
    this.#scope = scope;
    this.deviceCount = plugin.call('TopologyDescription_GetDeviceDescriptions', { topology }).descriptionCount;
  }

  /**
   * Compiles StableHLO text for these devices, off the main thread.
   * @throws WeftError with the compiler's words
   */
  async compile(stablehlo: string, options?: CompileOptions): Promise<AheadExecutable> {
    return this.#scope.during([this], async () => {
      const { executable } = await this.#scope.plugin.callAsync('Compile', {
        topology: this.pointer,
        ...compileArguments(stablehlo, options),
      });
      return new AheadExecutable(executable, this.#scope);
    });
  }

  /** Waits for what is being compiled, then frees everything. */
  async close(): Promise<void> {
    await this.#scope.close();
  }

  protected destroy(topology: Pointer): void {
    this.#scope.plugin.call('TopologyDescription_Destroy', { topology });
  }
}

/** A program compiled for devices that need not be there. It cannot run; it tells what it would take. */
export class AheadExecutable extends Handle {
  readonly #scope: Scope;

  constructor(pointer: Pointer, scope: Scope) {
    super('an executable compiled ahead', pointer, scope);
    this.#scope = scope;
  }

  /** Of one device. */
  get memory(): ExecutableMemory {
    return readExecutableMemory(this.#scope.plugin, this.pointer);
  }

  /** What the compiler reckons, such as `flops` of one device; empty where the plugin does not tell. */
  get costs(): NamedValues {
    try {
      const { properties, propertyCount } = this.#scope.plugin.call('Executable_GetCostAnalysis', {
        executable: this.pointer,
      });
      return readNamedValues(properties, propertyCount);
    } catch {
      return {};
    }
  }

  /** The module as it was compiled, after partitioning and fusion: XLA's `HloModuleProtoWithConfig`. */
  optimizedProgram(): Uint8Array {
    const { plugin } = this.#scope;
    const program = new Struct(STRUCTS.Program, {});
    // A call without memory for the code only tells its size.
    plugin.call('Executable_OptimizedProgram', { executable: this.pointer, program });
    const { codeSize } = program.values();
    const code = new Uint8Array(codeSize);
    const filled = new Struct(STRUCTS.Program, { code, codeSize });
    plugin.call('Executable_OptimizedProgram', { executable: this.pointer, program: filled });
    return code;
  }

  protected destroy(executable: Pointer): void {
    this.#scope.plugin.call('Executable_Destroy', { executable });
  }
}
