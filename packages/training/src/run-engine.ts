import { cpus } from 'node:os';
import {
  type AutomaticMesh,
  acceleratorPlugin,
  type CompileProgress,
  createPjrtExecutor,
  type Mesh,
} from '@weft/backend-pjrt';
import { createExecutor, hasNativeLibrary, productFormsDirectory } from '@weft/backend-tensorflow';
import type { Manifest } from '@weft/checkpoint';
import { WeftError } from '@weft/common';
import { AUTOMATIC_MESH, AUTOMATIC_PRECISION, allowsMesh, meshSize, type RunConfig } from '@weft/config';
import type { Executor, Program } from '@weft/tensor';
import { CheckpointSaver, type CheckpointSaverOptions } from './checkpoint-saver.js';
import type { GenerationPlan, SpanNotes, TrainOutcome, TrainSignals } from './ports.js';
import { type StatefulProgram, TrainState } from './state.js';
import { beginSending, receiveState, type StateTransfer } from './state-transfer.js';

/** What a session needs to know of its run and process. */
export interface ProcessOptions {
  readonly config: RunConfig;
  /** Where the run keeps its files; checkpoints go below it. */
  readonly runDirectory: string;
  /** Processes of the run that share this host's cores; default 1. */
  readonly localWorkers?: number;
  /** Threads inside one op; 0: this process's share of the cores. Default: the run's setting, where 0 means the same. */
  readonly threads?: number;
  /** Told how far compiling is, where an engine takes its time; default: nothing. */
  readonly onCompile?: (progress: CompileProgress) => void;
  /** Notes what it does for a profile; default: nothing is noted. */
  readonly spans?: SpanNotes;
}

/** The program that a process runs, and its part in checkpoints. */
export interface RunEngineOptions<P extends StatefulProgram> extends ProcessOptions {
  readonly program: P;
  /** Which tensors this process saves: `rankShare` or `expertShare`. */
  readonly share: CheckpointSaverOptions['share'];
  /** Throws to refuse a checkpoint before it is loaded. Default: every one is accepted. */
  readonly check?: (manifest: Manifest, directory: string) => void;
}

/**
 * The engine of a run in one process, rank or expert worker, with the run's state and checkpoints. It is kept from
 * generation to generation, so that a new one can go on from memory.
 */
export class RunEngine<P extends StatefulProgram> {
  readonly program: P;
  readonly executor: Executor;
  readonly saver: CheckpointSaver;
  readonly state: TrainState;

  /** @throws WeftError `native_library` when the settings need TensorFlow or a PJRT plugin that cannot be loaded. */
  constructor(options: RunEngineOptions<P>) {
    const { config, program, runDirectory, share, check, spans } = options;
    const { seed, initFrom } = config;
    const executor = openExecutor(program, options, { timesProducts: true });
    this.program = program;
    this.executor = executor;
    this.saver = new CheckpointSaver({ executor, layout: program.layout, runDirectory, share, spans });
    this.state = new TrainState({ executor, program, seed, initFrom, check });
  }

  /**
   * Brings the state to where a generation begins and runs it.
   * @param run told when the state is there, where it comes from other ranks
   * @throws WeftError `cancelled` when the generation was released meanwhile, whatever failed then.
   */
  async runGeneration(
    plan: GenerationPlan,
    { released }: TrainSignals,
    run: (stateArrived: Promise<void> | undefined) => Promise<TrainOutcome>,
    transfer?: StateTransfer,
  ): Promise<TrainOutcome> {
    const { executor } = this;
    const { layout } = this.program;
    return unlessReleased(plan, released, async () => {
      if (plan.state.kind === 'peers') return this.#takeAndRun(plan, run, transfer);
      await this.state.prepare(plan);
      this.#prepareSaver(plan);
      // Not awaited to its end: it goes on beside the first step.
      if (transfer !== undefined) await beginSending({ executor, layout, plan, transfer });
      return run(undefined);
    });
  }

  /** Nothing of this rank's first step needs the state before its batch is there and all ranks have met. */
  async #takeAndRun(
    plan: GenerationPlan,
    run: (stateArrived: Promise<void>) => Promise<TrainOutcome>,
    transfer: StateTransfer | undefined,
  ): Promise<TrainOutcome> {
    const { executor, state } = this;
    const { layout } = this.program;
    if (transfer === undefined) throw new WeftError('internal', 'there is nobody to take the state from');
    const arrived = state.take(plan, () => receiveState({ executor, layout, transfer }));
    arrived.catch(() => {});
    this.#prepareSaver(plan);
    try {
      return await run(arrived);
    } finally {
      // Nothing may write into the engine once the generation is over.
      transfer.close();
      await arrived.catch(() => {});
    }
  }

  /** Beside the first step. Whatever fails here fails again where the state is saved. */
  #prepareSaver(plan: GenerationPlan): void {
    this.saver.prepare(plan).catch(() => {});
  }

  /** Frees the engine; waits for a checkpoint that is being written. */
  async close(): Promise<void> {
    await this.saver.settled().catch(() => {});
    await this.executor.dispose();
  }
}

/** @throws WeftError `cancelled` when the generation was released meanwhile, whatever failed then. */
export async function unlessReleased<T>(
  { generation }: Pick<GenerationPlan, 'generation'>,
  released: AbortSignal,
  work: () => Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (thrown) {
    if (!released.aborted) throw thrown;
    throw new WeftError('cancelled', `generation ${generation} was released`, { cause: thrown });
  }
}

/**
 * The executor of a program, as the settings of a run ask for it.
 *
 * @param timesProducts whether TensorFlow's products take the forms that are fastest on this processor, which takes seconds when
 *   a shape is met there first; default: no, which is right for what is over soon
 * @throws WeftError `native_library` when they need TensorFlow or a PJRT plugin that cannot be loaded; `internal` for
 *   `precision: auto`, which nobody may resolve here: another rank could come to another result
 */
export function openExecutor(
  program: Program,
  options: Omit<ProcessOptions, 'runDirectory'>,
  { timesProducts = false }: { readonly timesProducts?: boolean } = {},
): Executor {
  const { config, onCompile } = options;
  const { precision, activationCheckpointing: recompute } = config;
  if (precision === AUTOMATIC_PRECISION) throw new WeftError('internal', 'precision is still auto');
  const backend = chooseBackend(config);
  if (backend === 'pjrt') {
    const cores = localThreads(options);
    return createPjrtExecutor(program, { precision, recompute, onCompile, mesh: meshOf(config), cores });
  }
  const kind = backend === 'tensorflow' ? 'graph' : 'javascript';
  const productForms = timesProducts ? productFormsDirectory() : undefined;
  const threads = localThreads(options);
  return createExecutor(program, { kind, precision, recompute, threads, productForms, onCompile });
}

function meshOf(config: RunConfig): Mesh | AutomaticMesh {
  const { mesh } = config.engine;
  return mesh === AUTOMATIC_MESH ? { allows: (each) => allowsMesh(config, each) } : mesh;
}

/** Whether a run's arrays may be cut over several devices in this process. */
export function isMeshed(config: RunConfig): boolean {
  const { mesh } = config.engine;
  return (mesh === AUTOMATIC_MESH || meshSize(mesh) > 1) && chooseBackend(config) === 'pjrt';
}

/**
 * The backend a run's settings ask for; `auto` takes PJRT where an accelerator and its plugin are, else TensorFlow where
 * its library is.
 * @throws WeftError `native_library` when bf16 or activation checkpointing is asked of the JavaScript engine.
 */
function chooseBackend({
  engine,
  precision,
  activationCheckpointing,
}: RunConfig): Exclude<RunConfig['engine']['backend'], 'auto'> {
  if (engine.backend === 'pjrt' || engine.backend === 'tensorflow') return engine.backend;
  if (engine.backend === 'auto' && acceleratorPlugin() !== undefined) return 'pjrt';
  if (engine.mesh !== AUTOMATIC_MESH && meshSize(engine.mesh) > 1) {
    throw new WeftError(
      'native_library',
      `engine.mesh has ${meshSize(engine.mesh)} devices, but there is no accelerator`,
      {
        hint: 'leave engine.mesh out, or set up the PJRT plugin (weft doctor says how)',
      },
    );
  }
  if (engine.backend === 'auto' && hasNativeLibrary()) return 'tensorflow';
  const refuse = (message: string, setting: string) =>
    new WeftError('native_library', message, { hint: `set ${setting}, or set up TensorFlow (weft doctor says how)` });
  if (precision === 'bf16') {
    throw refuse('precision is bf16, which the JavaScript engine does not have', 'precision to fp32');
  }
  if (activationCheckpointing !== 'none') {
    const message = `activationCheckpointing is ${activationCheckpointing}, but the JavaScript engine keeps every activation`;
    throw refuse(message, 'activationCheckpointing to none');
  }
  return 'javascript';
}

/** Threads inside one op: those asked for, the run's setting, or this process's share of the host's cores. */
function localThreads({ config, localWorkers = 1, threads }: Omit<ProcessOptions, 'runDirectory'>): number {
  const requested = threads ?? config.engine.threadsPerWorker;
  return requested > 0 ? requested : Math.max(1, Math.floor(cpus().length / localWorkers));
}
