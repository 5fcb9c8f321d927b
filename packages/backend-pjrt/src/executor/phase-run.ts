import { refuse, WeftError } from '@weft/common';
import {
  arrayOf,
  checkSomeInputs,
  type HostTensor,
  itemAt,
  type PhaseInputs,
  type PhaseRun,
  required,
  type TensorSpec,
  type ValueId,
} from '@weft/tensor';
import type { PhaseLayout } from '../lowering/sharding.js';
import { DeviceArray } from '../mesh/device-array.js';
import { deviceCount, UNCUT } from '../mesh/mesh.js';
import type { Client } from '../native/client.js';
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
  readonly layout: PhaseLayout;
  readonly state: DeviceState;
  readonly hostArrays: HostArrays;
}

/** A phase under way on the devices: every part starts as soon as the inputs that it waits for are there. */
export class PjrtPhaseRun implements PhaseRun {
  readonly #options: PhaseRunOptions;
  /** What was uploaded and computed, until nobody needs it. */
  readonly #arrays = new Map<ValueId, DeviceArray>();
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
    const { compiled, inputs: specs, client, layout } = this.#options;
    const uploads = Object.entries(inputs).map(async ([name, value]) => {
      const spec = specs[name] ?? refuse('internal', `input ${name} has no spec`);
      const array = await DeviceArray.upload(client, layout.mesh, spec, layout.input(name), arrayOf(value));
      this.#arrays.set(required(compiled.inputs, name), array);
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
    const { compiled, state, layout } = this.#options;
    await state.change(async () => {
      const inputs = part.arguments.map((id) => {
        const variable = compiled.variables.get(id);
        return variable === undefined ? required(this.#arrays, id) : state.read(variable);
      });
      const devices = Array.from({ length: deviceCount(layout.mesh) }, (_, device) => device);
      const { outputs } = await executable.executeOnDevices(
        devices.map((device) => inputs.map(({ shards }) => itemAt(shards, device))),
      );
      const computed = part.results.length - part.assigned.length;
      for (const [i, id] of part.results.entries()) {
        const { shape, dtype } = required(compiled.values, id);
        const spec = { shape, dtype: dtype === 'float32' ? dtype : 'int32' } as const;
        const shards = outputs.map((own) => itemAt(own, i));
        const array = new DeviceArray(spec, part.resultShardings[i] ?? UNCUT, layout.mesh, shards);
        const variable = part.assigned[i - computed];
        if (variable === undefined) this.#arrays.set(id, array);
        else state.replace(variable, array);
      }
    });
    for (const id of part.lastUses) this.#free(id);
  }

  /** Copies an output to the host, once it is computed. Its array stays: another output may be the same value. */
  async #read(name: string): Promise<HostTensor> {
    const array = this.#arrays.get(required(this.#options.compiled.outputs, name));
    if (array === undefined) {
      const missing = [...this.#missing].join(', ');
      throw new WeftError('internal', `output ${name} still waits for the inputs ${missing}`);
    }
    const tensor = this.#options.hostArrays.take(array.spec);
    await array.readInto(tensor.data);
    return tensor;
  }

  #free(id: ValueId): void {
    this.#arrays.get(id)?.free();
    this.#arrays.delete(id);
  }

  #drop(): void {
    this.#missing.clear();
    this.#left.clear();
    this.#started = this.#options.compiled.segments.length;
    for (const id of [...this.#arrays.keys()]) this.#free(id);
  }
}
