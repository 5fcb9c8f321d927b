import type { ExchangeDevices, ExpertHost } from '@weft/collectives';
import type { ExpertRange } from '@weft/model';
import { expertShare } from '../checkpoint-saver.js';
import type { ExpertCoordinatorPort, GenerationPlan, TrainOutcome, TrainSignals, WorkTimer } from '../ports.js';
import { type ProcessOptions, RunEngine } from '../run-engine.js';
import { openDeviceExchange } from './device-exchange.js';
import { type ExpertProgram, expertProgram } from './expert-program.js';
import { type ExpertStepResult, serveExperts } from './expert-server.js';

/** A run as one of its expert workers sees it. */
export interface ExpertSessionOptions extends ProcessOptions {
  /** The experts of every MoE layer that this worker holds. */
  readonly experts: ExpertRange;
  /** Called after every decided step; default: nothing. */
  readonly onStep?: (result: ExpertStepResult) => void;
  /** Keeps what the worker spends its time on; default: nobody does. */
  readonly timer?: WorkTimer;
  /** Told at the start of a generation how rows travel, where they might between GPUs; default: nothing. */
  readonly onExchange?: (description: string) => void;
}

/** One run on this expert worker: the engine and its experts, kept across the run's generations. */
export class ExpertSession {
  readonly #options: ExpertSessionOptions;
  readonly #engine: RunEngine<ExpertProgram>;

  /** @throws WeftError `native_library` when the settings need TensorFlow and it cannot be loaded. */
  static async open(options: ExpertSessionOptions): Promise<ExpertSession> {
    return new ExpertSession(options);
  }

  private constructor(options: ExpertSessionOptions) {
    const program = expertProgram(options.config, options.experts);
    this.#options = options;
    this.#engine = new RunEngine({ ...options, program, share: expertShare });
  }

  /** The engine in use, for people. */
  get engine(): string {
    return this.#engine.executor.description;
  }

  get experts(): ExpertRange {
    return this.#options.experts;
  }

  /**
   * Serves one generation of the run.
   * @throws WeftError `cancelled` when it is released, `unavailable` when a rank is gone; the state stays the one after
   *         the last decided step. Anything else is the failure of the run.
   */
  serve(
    plan: GenerationPlan,
    host: ExpertHost,
    coordinator: ExpertCoordinatorPort,
    signals: TrainSignals,
  ): Promise<TrainOutcome> {
    const { config, onStep, timer, spans, onExchange = () => {} } = this.#options;
    const { executor, program, saver, state } = this.#engine;
    return this.#engine.runGeneration(plan, signals, async () => {
      const allocate = () => executor.allocate(program.rows);
      const open = (devices: ExchangeDevices) => host.openDevices(devices, allocate);
      await openDeviceExchange({ config, executor, open, onExchange });
      return serveExperts({
        config,
        program,
        executor,
        host,
        coordinator,
        plan,
        signals,
        saver,
        timer,
        spans,
        onStep: (result) => {
          state.setStep(result.step);
          onStep?.(result);
        },
      });
    });
  }

  /** Frees the engine; waits for a checkpoint that is being written. */
  close(): Promise<void> {
    return this.#engine.close();
  }
}
