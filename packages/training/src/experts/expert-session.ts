import type { ExpertHost } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import { createExecutor, type Executor } from '@weft/engine';
import type { ExpertRange } from '@weft/model';
import { CheckpointSaver, expertShare } from '../checkpoint-saver.js';
import { chooseEngine } from '../choose-engine.js';
import { localThreads } from '../local-threads.js';
import type { ExpertLink, GenerationPlan, TrainOutcome, TrainSignals } from '../ports.js';
import { ResidentState } from '../resident-state.js';
import { type ExpertStepResult, expertLoop } from './expert-loop.js';
import { type ExpertProgram, expertProgram } from './expert-program.js';

export interface ExpertSessionOptions {
  readonly config: RunConfig;
  /** The experts of every MoE layer that live here. */
  readonly experts: ExpertRange;
  /** Where the run keeps its files; checkpoints go below it. */
  readonly runDirectory: string;
  /** Processes that share this host's cores; default 1. */
  readonly localWorkers?: number;
  /** Threads inside one op; default: the run's setting, or this process's share of the cores. */
  readonly threads?: number;
  /** Told of every decided step; default: nobody. */
  readonly onStep?: (result: ExpertStepResult) => void;
}

/** One run on this expert worker: the engine and its experts, kept across the run's generations. */
export class ExpertSession {
  readonly #options: ExpertSessionOptions;
  readonly #program: ExpertProgram;
  readonly #executor: Executor;
  readonly #saver: CheckpointSaver;
  readonly #state: ResidentState;

  /** @throws WeftError when TensorFlow is asked for and cannot be loaded. */
  static async open(options: ExpertSessionOptions): Promise<ExpertSession> {
    const { config, experts } = options;
    const program = expertProgram(config, experts);
    const kind = chooseEngine(config);
    const executor = createExecutor(program, { kind, precision: config.precision, threads: localThreads(options) });
    return new ExpertSession(options, program, executor);
  }

  private constructor(options: ExpertSessionOptions, program: ExpertProgram, executor: Executor) {
    const { config, runDirectory } = options;
    const { stored } = program;
    this.#options = options;
    this.#program = program;
    this.#executor = executor;
    this.#saver = new CheckpointSaver({ executor, stored, runDirectory, shareOf: (plan) => expertShare(stored, plan) });
    this.#state = new ResidentState({ executor, program, seed: config.seed, initFrom: config.initFrom });
  }

  /** The engine in use, for people. */
  get engine(): string {
    return this.#executor.description;
  }

  get experts(): ExpertRange {
    return this.#options.experts;
  }

  /**
   * Serves one generation of the run.
   * @throws WeftError `cancelled` when it is released, `unavailable` when a rank is gone; the state stays the one after
   *         the last decided step. Anything else is the failure of the run.
   */
  async serve(plan: GenerationPlan, host: ExpertHost, link: ExpertLink, signals: TrainSignals): Promise<TrainOutcome> {
    try {
      await this.#state.prepare(plan);
      return await expertLoop({
        config: this.#options.config,
        program: this.#program,
        executor: this.#executor,
        host,
        link,
        plan,
        signals,
        saver: this.#saver,
        onStep: (result) => {
          this.#state.advanced(result.step);
          this.#options.onStep?.(result);
        },
      });
    } catch (thrown) {
      if (!signals.released.aborted) throw thrown;
      throw new WeftError('cancelled', `generation ${plan.generation} was released`, { cause: thrown });
    }
  }

  /** Frees the engine; waits for a checkpoint that is being written. */
  async close(): Promise<void> {
    await this.#saver.settled().catch(() => {});
    await this.#executor.dispose();
  }
}
