import { refuse, WeftError } from '@weft/common';
import {
  arrayOf,
  checkSomeInputs,
  type HostTensor,
  type PhaseInputs,
  type PhaseRun,
  required,
  type TensorSpec,
  type ValueId,
} from '@weft/tensor';
import type { Client } from '../native/client.js';
import type { DeviceBuffer } from '../native/device-buffer.js';
import type { Executable } from '../native/executable.js';
import type { DeviceState } from './device-state.js';
import type { HostArrays } from './host-arrays.js';
import type { Segment, SegmentedPhase } from './segments.js';

/** A phase ready to run: its parts, and the executable of each. */
export interface CompiledPhase extends SegmentedPhase {
  readonly executables: readonly Executable[];
}

export interface PhaseRunOptions {
  /** Program and phase, for messages. */
  readonly where: string;
  readonly inputs: Readonly<Record<string, TensorSpec>>;
  readonly compiled: CompiledPhase;
  readonly client: Client;
  readonly state: DeviceState;
  readonly hostArrays: HostArrays;
}

/** A phase under way on a device: every part starts as soon as the inputs that it waits for are there. */
export class PjrtPhaseRun implements PhaseRun {
  readonly #options: PhaseRunOptions;
  /** What was uploaded and computed, until nobody needs it. */
  readonly #buffers = new Map<ValueId, DeviceBuffer>();
  readonly #missing: Set<string>;
  readonly #left: Set<string>;
  #started = 0;

  constructor(options: PhaseRunOptions) {
    this.#options = options;
    this.#missing = new Set(options.compiled.inputs.keys());
    this.#left = new Set(options.compiled.outputs.keys());
  }

  async advance(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, HostTensor>> {
    const { where, inputs: specs } = this.#options;
    checkSomeInputs(where, specs, inputs);
    for (const name of Object.keys(inputs)) this.#check(this.#missing, name, 'input');
    for (const name of outputs) this.#check(this.#left, name, 'output');
    for (const name of Object.keys(inputs)) this.#missing.delete(name);
    for (const name of outputs) this.#left.delete(name);
    try {
      await this.#upload(inputs);
      await this.#start();
      const read = await Promise.all(outputs.map(async (name) => [name, await this.#read(name)] as const));
      if (this.#left.size === 0 && this.#waiting === undefined) this.#drop();
      return Object.fromEntries(read);
    } catch (thrown) {
      this.#drop();
      const { code, message, hint } = WeftError.from(thrown);
      const options = hint === undefined ? { cause: thrown } : { cause: thrown, hint };
      throw new WeftError(code, `${where}: ${message}`, options);
    }
  }

  /** Parts that did not start never will; what a started one computes is dropped. */
  async abandon(): Promise<void> {
    this.#drop();
  }

  /** The first part that has not started. */
  get #waiting(): Segment | undefined {
    return this.#options.compiled.segments[this.#started];
  }

  #check(names: ReadonlySet<string>, name: string, kind: string): void {
    if (names.has(name)) return;
    throw new WeftError('invalid_argument', `${this.#options.where}: ${kind} ${name} is unknown or was used before`);
  }

  async #upload(inputs: PhaseInputs): Promise<void> {
    const { compiled, inputs: specs, client } = this.#options;
    const uploads = Object.entries(inputs).map(async ([name, value]) => {
      const { shape, dtype } = specs[name] ?? refuse('internal', `input ${name} has no spec`);
      this.#buffers.set(required(compiled.inputs, name), await client.upload(arrayOf(value), shape, dtype));
    });
    await Promise.all(uploads);
  }

  /** Starts the parts that wait for nothing more, in order. */
  async #start(): Promise<void> {
    for (let part = this.#waiting; part !== undefined; part = this.#waiting) {
      if (part.awaits.some((name) => this.#missing.has(name))) return;
      const executable = this.#options.compiled.executables[this.#started++];
      await this.#execute(part, executable ?? refuse('internal', 'a part was not compiled'));
    }
  }

  async #execute(part: Segment, executable: Executable): Promise<void> {
    const { compiled, state } = this.#options;
    await state.change(async () => {
      const inputs = part.arguments.map((id) => {
        const variable = compiled.variables.get(id);
        return variable === undefined ? required(this.#buffers, id) : state.read(variable);
      });
      const { outputs } = await executable.execute(inputs);
      const computed = outputs.length - part.assigned.length;
      for (const [i, output] of outputs.entries()) {
        const variable = part.assigned[i - computed];
        if (variable === undefined) this.#buffers.set(part.results[i] ?? -1, output);
        else state.replace(variable, output);
      }
    });
    for (const id of part.lastUses) this.#free(id);
  }

  /** Copies an output to the host, once it is computed. Its buffer stays: another output may be the same value. */
  async #read(name: string): Promise<HostTensor> {
    const buffer = this.#buffers.get(required(this.#options.compiled.outputs, name));
    if (buffer === undefined) {
      const missing = [...this.#missing].join(', ');
      throw new WeftError('internal', `output ${name} still waits for the inputs ${missing}`);
    }
    const dtype = buffer.elementType === 'float32' ? 'float32' : 'int32';
    const tensor = this.#options.hostArrays.take({ shape: buffer.shape, dtype });
    await buffer.readInto(tensor.data);
    return tensor;
  }

  #free(id: ValueId): void {
    this.#buffers.get(id)?.free();
    this.#buffers.delete(id);
  }

  #drop(): void {
    this.#missing.clear();
    this.#left.clear();
    this.#started = this.#options.compiled.segments.length;
    for (const id of [...this.#buffers.keys()]) this.#free(id);
  }
}
