import { WeftError } from '@weft/common';
import {
  arrayOf,
  type Box,
  checkInputs,
  checkValue,
  type Executor,
  type FillState,
  type HostTensor,
  itemAt,
  type PhaseInputs,
  type PhaseRun,
  type Precision,
  type Program,
  type Recompute,
  type Recording,
  type ResidentTensor,
  recordPhase,
  type StatePart,
  type StateValues,
  type TensorSpec,
} from '@weft/tensor';
import type { AttentionLowering } from '../lowering/builder.js';
import { rewriteForXla } from '../lowering/module.js';
import { LoweringShapeInference } from '../lowering/shape-inference.js';
import { phaseLayout } from '../lowering/sharding.js';
import { chooseMesh, type MeshNeeds, temporaryBytes } from '../mesh/choose-mesh.js';
import { DeviceArray, heldBoxes } from '../mesh/device-array.js';
import { deviceCount, type Mesh, SINGLE, shardingOf } from '../mesh/mesh.js';
import type { Client, DeviceMemory } from '../native/client.js';
import { DeviceResident, isOnDevices } from './device-resident.js';
import { DeviceState } from './device-state.js';
import type { ExecutableCache } from './executable-cache.js';
import { HostArrays, newHostTensor } from './host-arrays.js';
import { type CompiledPhase, PjrtPhaseRun } from './phase-run.js';
import { type Cuts, cutPhase } from './segments.js';

/** How far compiling is; told when it begins, every few seconds, and at the end. */
export interface CompileProgress {
  readonly phase: string;
  readonly seconds: number;
  readonly isDone: boolean;
  /** How the phase computes attention, once it is compiled; absent in one that has none. */
  readonly attention?: AttentionLowering | undefined;
  /** Parts that were compiled, where others were loaded from the cache; once it is done. */
  readonly compiledParts?: number | undefined;
}

export interface PjrtExecutorOptions {
  /** Arithmetic of matrix products. */
  readonly precision: Precision;
  /** What is computed twice instead of kept. */
  readonly recompute: Recompute;
  /** How the program is cut over the devices; default: it runs on the first one. */
  readonly mesh?: Mesh | AutomaticMesh | undefined;
  readonly onCompile?: ((progress: CompileProgress) => void) | undefined;
}

/** A mesh of all devices, chosen by what the program needs: see `chooseMesh`. */
export type AutomaticMesh = Pick<MeshNeeds, 'allows'>;

/** Devices ready to compile and run. */
export interface OpenDevices {
  readonly client: Client;
  readonly cache: ExecutableCache;
  readonly mesh: Mesh;
}

/** Opens the devices; `meshFor` says how the program is cut over them. */
type Open = (meshFor: (client: Client) => Mesh) => Promise<OpenDevices>;

/** A phase that gets all inputs at once and gives all outputs at its end. */
const WHOLE: Cuts = { late: new Set(), atOutputs: false };

const PROGRESS_INTERVAL_MS = 5_000;

/** Runs a program on the devices of a mesh through PJRT; its variables stay there between phases. */
export class PjrtExecutor implements Executor {
  readonly description: string;
  readonly compiles = true;
  readonly #program: Program;
  readonly #options: PjrtExecutorOptions;
  readonly #open: Open;
  #device: Promise<OpenDevices> | undefined;
  readonly #state = new DeviceState();
  readonly #hostArrays = new HostArrays();
  readonly #recordings = new Map<string, Recording>();
  /** By phase and cuts. */
  readonly #compiled = new Map<string, Promise<CompiledPhase>>();

  /** @param open is called on first use, once */
  constructor(program: Program, description: string, options: PjrtExecutorOptions, open: Open) {
    this.description = description;
    this.#program = program;
    this.#options = options;
    this.#open = open;
  }

  async run(phase: string, inputs: PhaseInputs): Promise<Record<string, HostTensor>> {
    const run = await this.#beginWhole(phase, inputs);
    return run.advance(inputs, this.#outputsOf(phase));
  }

  async runResident(phase: string, inputs: PhaseInputs): Promise<Record<string, ResidentTensor>> {
    const run = await this.#beginWhole(phase, inputs);
    return run.keep(inputs, this.#outputsOf(phase));
  }

  async begin(phase: string, inputs: PhaseInputs, outputsEarly = true): Promise<PhaseRun> {
    const late = Object.keys(this.#phase(phase).inputs).filter((name) => !(name in inputs));
    const run = await this.#begin(phase, { late: new Set(late), atOutputs: outputsEarly });
    await run.advance(inputs, []);
    return run;
  }

  prepare(phases: readonly string[]): void {
    for (const phase of phases) this.#compiledPhase(phase, WHOLE).catch(() => {});
  }

  async readState(names: readonly string[] = Object.keys(this.#program.state)): Promise<Record<string, HostTensor>> {
    // All copies begin between two changes of the state; the later one waits on the device for those that it concerns.
    const copies = await this.#state.change(() =>
      names.map(async (name) => {
        const tensor = this.#hostArrays.take(this.#spec(name));
        await this.#state.read(name).readInto(tensor.data);
        return [name, tensor] as const;
      }),
    );
    return Object.fromEntries(await Promise.all(copies));
  }

  async deviceCount(): Promise<number> {
    return deviceCount((await this.#opened()).mesh);
  }

  async allocate(spec: TensorSpec): Promise<ResidentTensor> {
    const { client, mesh } = await this.#opened();
    const array = DeviceArray.allocate(client, mesh, spec, shardingOf(spec, mesh));
    return new DeviceResident(array, { client, mesh, hostArrays: this.#hostArrays });
  }

  async boxesOf(spec: TensorSpec): Promise<readonly Box[]> {
    const { mesh } = await this.#opened();
    return heldBoxes(spec.shape, shardingOf(spec, mesh), mesh).map(({ box }) => box);
  }

  async copyState(names: readonly string[]): Promise<Record<string, readonly StatePart[]>> {
    // What is begun between two changes of the state is of one moment. Later changes wait for it, on the device.
    const copies = await this.#state.change(() => {
      const arrays = names.map((name) => [name, this.#state.read(name)] as const);
      return arrays.map(([name, array]) => [name, beginCopies(array)] as const);
    });
    // One after the other: waiting takes threads that the next phases need.
    let before: Promise<unknown> = Promise.resolve();
    const parts = copies.map(([name, begun]) => {
      const own = begun.map(({ box, finish }): StatePart => {
        const values = before.then(finish);
        before = values.catch(() => {});
        return { box, values };
      });
      return [name, own] as const;
    });
    return Object.fromEntries(parts);
  }

  async prepareCopy(_names: readonly string[]): Promise<void> {
    // A copy needs nothing that is compiled.
  }

  async fillState(names: readonly string[], valuesOf: FillState): Promise<void> {
    const { client, mesh } = await this.#opened();
    await this.#state.change(async () => {
      for (const name of names) {
        const spec = this.#spec(name);
        const part = async (box: Box) => {
          const values = await valuesOf(name, box);
          const where = `state ${name} of program ${this.#program.name}`;
          checkValue(where, { shape: box.size, dtype: spec.dtype }, values);
          return values;
        };
        const array = await DeviceArray.fill(client, mesh, spec, shardingOf(spec, mesh), part);
        this.#state.replace(name, array);
      }
    });
  }

  async writeState(values: StateValues): Promise<void> {
    const { client, mesh } = await this.#opened();
    await this.#state.change(async () => {
      for (const [name, value] of Object.entries(values)) {
        const spec = this.#spec(name);
        checkValue(`state ${name} of program ${this.#program.name}`, spec, value);
        const array = await DeviceArray.upload(client, mesh, spec, shardingOf(spec, mesh), arrayOf(value));
        this.#state.replace(name, array);
      }
    });
  }

  /** Bytes that the variables take on each device, as the plugin counts them. */
  stateBytes(): readonly number[] {
    const arrays = Object.keys(this.#program.state).map((name) => this.#state.read(name).shards);
    const [first = []] = arrays;
    return first.map((_, device) => arrays.reduce((sum, shards) => sum + (shards[device]?.deviceBytes ?? 0), 0));
  }

  /** Memory of the first device of the mesh; undefined where the plugin keeps no account of it. */
  async deviceMemory(): Promise<DeviceMemory | undefined> {
    const { client } = await this.#opened();
    return client.memoryOf(client.firstDevice);
  }

  async dispose(): Promise<void> {
    const device = this.#device;
    this.#device = undefined;
    await Promise.allSettled(this.#compiled.values());
    this.#compiled.clear();
    const opened = await device?.catch(() => undefined);
    await opened?.client.close();
  }

  /** A run that is given all inputs at once. */
  #beginWhole(phase: string, inputs: PhaseInputs): Promise<PjrtPhaseRun> {
    const { inputs: specs } = this.#phase(phase);
    checkInputs(this.#where(phase), specs, inputs, isOnDevices);
    return this.#begin(phase, WHOLE);
  }

  async #begin(phase: string, cuts: Cuts): Promise<PjrtPhaseRun> {
    const compiled = await this.#compiledPhase(phase, cuts);
    const { client, mesh } = await this.#opened();
    return new PjrtPhaseRun({
      where: this.#where(phase),
      inputs: this.#phase(phase).inputs,
      compiled,
      client,
      layout: phaseLayout(this.#program, phase, mesh),
      state: this.#state,
      hostArrays: this.#hostArrays,
    });
  }

  #compiledPhase(phase: string, cuts: Cuts): Promise<CompiledPhase> {
    const key = JSON.stringify([phase, [...cuts.late].sort(), cuts.atOutputs]);
    const compiling = this.#compiled.get(key) ?? this.#compile(phase, cuts);
    this.#compiled.set(key, compiling);
    return compiling;
  }

  /** Phases, and the parts of one, compile at the same time where cores allow. */
  async #compile(phase: string, cuts: Cuts): Promise<CompiledPhase> {
    const { client, cache, mesh } = await this.#opened();
    const recording = this.#rewritten(phase, mesh);
    const hasAttention = recording.ops.some(({ type }) => type === 'Attention');
    const mayFuse = hasAttention && client.platform === 'cuda';
    let attention: AttentionLowering = mayFuse ? 'fused' : 'blockwise';
    let compiledParts: number | undefined;
    const startedMs = performance.now();
    const tell = (isDone: boolean) =>
      this.#options.onCompile?.({
        phase,
        seconds: (performance.now() - startedMs) / 1000,
        isDone,
        attention: hasAttention && isDone ? attention : undefined,
        compiledParts: isDone ? compiledParts : undefined,
      });
    const compiled = async () => {
      const layout = phaseLayout(this.#program, phase, mesh);
      const segmented = cutPhase(recording, cuts, layout, attention);
      const ready = await Promise.all(segmented.segments.map(({ text }) => cache.compile(text)));
      compiledParts = ready.filter(({ isNew }) => isNew).length;
      return { ...segmented, executables: ready.map(({ executable }) => executable) };
    };
    tell(false);
    const timer = setInterval(tell, PROGRESS_INTERVAL_MS, false);
    try {
      return await compiled().catch((error: unknown) => {
        if (attention === 'blockwise') throw error;
        // cuDNN refuses what this card or its version cannot do; anything else that is wrong shows again.
        attention = 'blockwise';
        return compiled();
      });
    } finally {
      clearInterval(timer);
      tell(true);
    }
  }

  #meshFor(client: Client): Mesh {
    const { mesh = SINGLE } = this.#options;
    const devices = client.devices.length;
    if (!('allows' in mesh)) return mesh;
    if (devices === 1) return SINGLE;
    return chooseMesh({
      devices,
      memoryBytes: client.memoryOf(client.firstDevice)?.limit,
      state: Object.values(this.#program.state),
      temporaryBytes: Math.max(
        ...Object.entries(this.#program.phases)
          .filter(([, { isSmaller }]) => isSmaller !== true)
          .map(([phase]) => temporaryBytes(this.#rewritten(phase, SINGLE))),
      ),
      allows: mesh.allows,
    });
  }

  #opened(): Promise<OpenDevices> {
    this.#device ??= this.#open((client) => this.#meshFor(client));
    return this.#device;
  }

  #recorded(phase: string): Recording {
    const known = this.#recordings.get(phase);
    if (known !== undefined) return known;
    const recording = recordPhase(new LoweringShapeInference(), this.#program, phase);
    this.#recordings.set(phase, recording);
    return recording;
  }

  #rewritten(phase: string, mesh: Mesh): Recording {
    const { precision, recompute } = this.#options;
    return rewriteForXla(this.#recorded(phase), { precision, recompute, mesh });
  }

  #outputsOf(phase: string): string[] {
    return Object.keys(this.#recorded(phase).outputs);
  }

  #phase(name: string): Program['phases'][string] {
    const phase = this.#program.phases[name];
    if (phase === undefined) {
      throw new WeftError('invalid_argument', `program ${this.#program.name} has no phase ${name}`);
    }
    return phase;
  }

  #spec(name: string): TensorSpec {
    const spec = this.#program.state[name];
    if (spec === undefined) {
      throw new WeftError('invalid_argument', `program ${this.#program.name} has no state ${name}`);
    }
    return spec;
  }

  #where(phase: string): string {
    return `program ${this.#program.name}, phase ${phase}`;
  }
}

/** Begins to copy the shards of an array, each into memory of its own; `finish` waits for one. */
function beginCopies(array: DeviceArray) {
  const { dtype } = array.spec;
  return array.boxes.map(({ box, devices: [device = 0] }) => {
    const tensor = newHostTensor({ shape: box.size, dtype });
    const copied = itemAt(array.shards, device).beginReading(tensor.data);
    return { box, finish: () => copied().then(() => tensor) };
  });
}
