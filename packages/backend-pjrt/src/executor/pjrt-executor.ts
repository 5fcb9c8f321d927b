import { WeftError } from '@weft/common';
import {
  arrayOf,
  checkInputs,
  checkValue,
  type Executor,
  type HostTensor,
  type PhaseInputs,
  type PhaseRun,
  type Precision,
  type Program,
  type Recompute,
  type Recording,
  recordPhase,
  type TensorSpec,
} from '@weft/tensor';
import type { AttentionLowering } from '../lowering/builder.js';
import { rewriteForXla } from '../lowering/module.js';
import { LoweringShapeInference } from '../lowering/shape-inference.js';
import { phaseLayout } from '../lowering/sharding.js';
import { chooseMesh, type MeshNeeds, temporaryBytes } from '../mesh/choose-mesh.js';
import { DeviceArray } from '../mesh/device-array.js';
import { deviceCount, type Mesh, SINGLE, shardingOf } from '../mesh/mesh.js';
import type { Client } from '../native/client.js';
import { DeviceState } from './device-state.js';
import type { ExecutableCache } from './executable-cache.js';
import { HostArrays } from './host-arrays.js';
import { type CompiledPhase, PjrtPhaseRun } from './phase-run.js';
import { type Cuts, cutPhase } from './segments.js';

/** How far compiling is; told when it begins, every few seconds, and at the end. */
export interface CompileProgress {
  readonly phase: string;
  readonly seconds: number;
  readonly isDone: boolean;
  /** How the phase computes attention, once it is compiled; absent in one that has none. */
  readonly attention?: AttentionLowering | undefined;
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

const PROGRESS_INTERVAL_MS = 5_000;

/** Runs a program on the devices of a mesh through PJRT; its variables stay there between phases. */
export class PjrtExecutor implements Executor {
  readonly description: string;
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
    const { inputs: specs } = this.#phase(phase);
    checkInputs(this.#where(phase), specs, inputs);
    const run = await this.#begin(phase, { late: new Set(), atOutputs: false });
    return run.advance(inputs, this.#outputsOf(phase));
  }

  async begin(phase: string, inputs: PhaseInputs): Promise<PhaseRun> {
    const late = Object.keys(this.#phase(phase).inputs).filter((name) => !(name in inputs));
    const run = await this.#begin(phase, { late: new Set(late), atOutputs: true });
    await run.advance(inputs, []);
    return run;
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

  async writeState(values: PhaseInputs): Promise<void> {
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

  async dispose(): Promise<void> {
    const device = this.#device;
    this.#device = undefined;
    await Promise.allSettled(this.#compiled.values());
    this.#compiled.clear();
    const opened = await device?.catch(() => undefined);
    await opened?.client.close();
  }

  async #begin(phase: string, cuts: Cuts): Promise<PjrtPhaseRun> {
    const key = JSON.stringify([phase, [...cuts.late].sort(), cuts.atOutputs]);
    const compiling = this.#compiled.get(key) ?? this.#compile(phase, cuts);
    this.#compiled.set(key, compiling);
    const compiled = await compiling;
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

  /** Parts compile at the same time, where cores allow. */
  async #compile(phase: string, cuts: Cuts): Promise<CompiledPhase> {
    const { client, cache, mesh } = await this.#opened();
    const isSingle = deviceCount(mesh) === 1;
    // What lies between parts would lie whole on every device.
    const atOutputs = cuts.atOutputs && isSingle;
    const recording = this.#rewritten(phase, mesh);
    const hasAttention = recording.ops.some(({ type }) => type === 'Attention');
    // XLA's partitioner does not know how to cut cuDNN's kernel.
    const mayFuse = hasAttention && isSingle && client.platform === 'cuda';
    let attention: AttentionLowering = mayFuse ? 'fused' : 'blockwise';
    const startedMs = performance.now();
    const tell = (isDone: boolean) =>
      this.#options.onCompile?.({
        phase,
        seconds: (performance.now() - startedMs) / 1000,
        isDone,
        attention: hasAttention && isDone ? attention : undefined,
      });
    const compiled = async () => {
      const layout = phaseLayout(this.#program, phase, mesh);
      const segmented = cutPhase(recording, { ...cuts, atOutputs }, layout, attention);
      const executables = await Promise.all(segmented.segments.map(({ text }) => cache.compile(text)));
      return { ...segmented, executables };
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
        ...Object.keys(this.#program.phases).map((phase) => temporaryBytes(this.#rewritten(phase, SINGLE))),
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
