import { isDeepStrictEqual } from 'node:util';
import { refuse, WeftError } from '@weft/common';
import {
  arrayOf,
  checkSomeInputs,
  type FedInput,
  type HostArray,
  type HostTensor,
  itemAt,
  type PhaseInputs,
  type PhaseRun,
  type ResidentTensor,
  required,
  type TensorSpec,
  type ValueId,
} from '@weft/tensor';
import type { PhaseLayout } from '../lowering/sharding.js';
import { DeviceArray } from '../mesh/device-array.js';
import { deviceCount, UNCUT } from '../mesh/mesh.js';
import type { Client } from '../native/client.js';
import type { Executable } from '../native/executable.js';
import { type DeviceAccess, DeviceResident, isOnDevices } from './device-resident.js';
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

  advance(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, HostTensor>> {
    return this.#take(inputs, outputs, (name) => this.#read(name));
  }

  keep(inputs: PhaseInputs, outputs: readonly string[]): Promise<Record<string, ResidentTensor>> {
    const { client, layout, hostArrays } = this.#options;
    const access: DeviceAccess = { client, mesh: layout.mesh, hostArrays };
    return this.#take(inputs, outputs, async (name) => new DeviceResident(this.#output(name).share(), access));
  }

  async #take<T>(
    inputs: PhaseInputs,
    outputs: readonly string[],
    take: (name: string) => Promise<T>,
  ): Promise<Record<string, T>> {
    const { where, inputs: specs } = this.#options;
    const onHost = checkSomeInputs(where, specs, inputs, isOnDevices);
    for (const name of Object.keys(inputs)) this.#check(this.#missing, name, 'input');
    for (const name of outputs) this.#check(this.#left, name, 'output');
    for (const name of Object.keys(inputs)) this.#missing.delete(name);
    for (const name of outputs) this.#left.delete(name);
    try {
      await this.#place(inputs, onHost);
      await this.#start();
      const taken = await Promise.all(outputs.map(async (name) => [name, await take(name)] as const));
      if (this.#left.size === 0 && this.#waiting === undefined) this.#drop();
      return Object.fromEntries(taken);
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

  /** Uploads what lies on the host, and takes what lies on the devices as it is. */
  async #place(inputs: PhaseInputs, onHost: readonly FedInput[]): Promise<void> {
    for (const [name, value] of Object.entries(inputs)) {
      if (isOnDevices(value)) this.#put(name, this.#asTaken(name, value.array));
    }
    const uploads = onHost.map(async ({ name, spec, value }) => {
      this.#put(name, await this.#upload(name, spec, arrayOf(value)));
    });
    await Promise.all(uploads);
  }

  /** Outputs lie as the phases that take them want it; see `phaseLayout`. */
  #asTaken(name: string, array: DeviceArray): DeviceArray {
    if (isDeepStrictEqual(array.sharding, this.#options.layout.input(name))) return array.share();
    throw new WeftError('internal', `input ${name} lies on the mesh in another way than the phase takes it`);
  }

  #upload(name: string, spec: TensorSpec, values: HostArray): Promise<DeviceArray> {
    const { client, layout } = this.#options;
    return DeviceArray.upload(client, layout.mesh, spec, layout.input(name), values);
  }

  #put(name: string, array: DeviceArray): void {
    this.#arrays.set(required(this.#options.compiled.inputs, name), array);
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
    const array = this.#output(name);
    const tensor = this.#options.hostArrays.take(array.spec);
    await array.readInto(tensor.data);
    return tensor;
  }

  #output(name: string): DeviceArray {
    const array = this.#arrays.get(required(this.#options.compiled.outputs, name));
    if (array !== undefined) return array;
    const missing = [...this.#missing].join(', ');
    throw new WeftError('internal', `output ${name} still waits for the inputs ${missing}`);
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
