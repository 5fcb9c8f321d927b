import type { ExchangeDevices, ExpertHost } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { ExpertRange } from '@weft/model';
import type { Range } from '@weft/topology';
import { expertShare } from '../checkpoint-saver.js';
import type { ExpertCoordinatorPort, GenerationPlan, TrainOutcome, TrainSignals, WorkTimer } from '../ports.js';
import { type ProcessOptions, RunEngine, unlessReleased } from '../run-engine.js';
import { openDeviceExchange } from './device-exchange.js';
import { ExpertCopies, type LinkedExperts } from './expert-copies.js';
import { type ExpertProgram, expertProgram } from './expert-program.js';
import type { ExpertRoles } from './expert-roles.js';
import { type ExpertStepResult, serveExperts } from './expert-server.js';
import { beginSendingExperts, type ExpertsInMemory, type LinksTo, takeExperts } from './move-experts.js';

/** A run as one of its expert workers sees it. */
export interface ExpertSessionOptions extends ProcessOptions {
  /** The experts of every MoE layer that this session holds. */
  readonly experts: ExpertRange;
  /** Called after every decided step; default: nothing. */
  readonly onStep?: (result: ExpertStepResult) => void;
  /** Keeps what the worker spends its time on; default: nobody does. */
  readonly timer?: WorkTimer;
  /** Told at the start of a generation how rows travel, where they might between GPUs; default: nothing. */
  readonly onExchange?: (description: string) => void;
}

/** What a worker has beside the session that serves: the copy it keeps, what it held before, and the ways to others. */
export interface ExpertHoldings {
  readonly roles: ExpertRoles;
  /** Of the experts whose copy it keeps; undefined: none. */
  readonly copy: ExpertSession | undefined;
  /** The session with exactly these experts; undefined: there is none. */
  readonly find: (experts: Range) => ExpertSession | undefined;
  readonly links: LinksTo;
  /** Called when the first step is decided: what was held for the generation before is not needed any more. */
  readonly onSettled: () => void;
}

/** Experts of one run on this worker: the engine and its state, kept across the run's generations. */
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
   * @param holdings where experts move between workers or have copies
   * @throws WeftError `cancelled` when it is released, `unavailable` when a rank or another expert worker is gone; the state
   *         stays the one after the last decided step. Anything else is the failure of the run.
   */
  serve(
    plan: GenerationPlan,
    host: ExpertHost,
    coordinator: ExpertCoordinatorPort,
    signals: TrainSignals,
    holdings?: ExpertHoldings,
  ): Promise<TrainOutcome> {
    const { config, onStep, timer, spans, onExchange = () => {} } = this.#options;
    const { executor, program, saver, state } = this.#engine;
    return unlessReleased(plan, signals.released, async () => {
      await (holdings === undefined ? state.prepare(plan) : this.#prepare(plan, holdings));
      const copies = holdings && this.#copies(plan, holdings);
      const allocate = () => executor.allocate(program.rows);
      const open = (devices: ExchangeDevices) => host.openDevices(devices, allocate);
      await openDeviceExchange({ config, executor, open, onExchange });
      return serveExperts({
        config,
        program,
        executor,
        host,
        coordinator,
        copies,
        plan,
        signals,
        saver,
        timer,
        spans,
        onStep: (result) => {
          state.setStep(result.step);
          holdings?.copy?.setStep(result.step);
          if (result.step === plan.firstStep) holdings?.onSettled();
          onStep?.(result);
        },
      });
    });
  }

  /** A step is decided, and done with: the state is the one after it. */
  setStep(step: number): void {
    this.#engine.state.setStep(step);
  }

  /** @throws WeftError as `TrainState.prepare` */
  prepare(plan: Pick<GenerationPlan, 'state' | 'firstStep'>): Promise<void> {
    return this.#engine.state.prepare(plan);
  }

  /** Frees the engine; waits for a checkpoint that is being written. */
  close(): Promise<void> {
    return this.#engine.close();
  }

  /** Brings its own experts and the copy to where the generation begins: from memory here and elsewhere, or as the plan says. */
  async #prepare(plan: GenerationPlan, { roles, copy, find, links }: ExpertHoldings): Promise<void> {
    const sessions = [this, ...(copy === undefined ? [] : [copy])];
    const { moves } = roles;
    const { rank, firstStep } = plan;
    if (plan.state.kind === 'fresh' || plan.state.kind === 'checkpoint') {
      for (const session of sessions) await session.#engine.state.prepare(plan);
      return;
    }
    const inMemory = (experts: Range): ExpertsInMemory => {
      const found = find(experts);
      if (found !== undefined) return { ...enginePart(found.#engine), experts };
      const range = `${experts.first} to ${experts.end - 1}`;
      throw new WeftError('failed_precondition', `this worker was to hold the experts ${range}, and does not`);
    };
    const keep = { state: { kind: 'keep' }, firstStep } as const;
    const sources = moves.filter(({ from }) => from === rank).map(({ source }) => source);
    for (const source of sources) await find(source)?.prepare(keep);
    const options = { worker: rank, moves, inMemory, links };
    await beginSendingExperts(options);
    const incoming = moves.filter(({ target }) => target.worker === rank).map(({ target }) => target.experts);
    let take = () => takeExperts(options);
    for (const session of sessions) {
      const { first, end } = session.experts;
      const takeOthers = take;
      if (incoming.some((experts) => experts.first === first && experts.end === end))
        take = () => session.#engine.state.take(plan, takeOthers);
      else await session.prepare(keep);
    }
    await take();
  }

  #copies({ firstStep }: GenerationPlan, { roles, copy, links }: ExpertHoldings): ExpertCopies | undefined {
    const { copied, copiedBy } = roles;
    if (copied === undefined && copiedBy === undefined) return undefined;
    const own: LinkedExperts | undefined =
      copiedBy === undefined ? undefined : { ...enginePart(this.#engine), link: links.to(copiedBy) };
    const kept: LinkedExperts | undefined =
      copy === undefined || copied === undefined
        ? undefined
        : { ...enginePart(copy.#engine), link: links.from(copied) };
    return new ExpertCopies({ own, copy: kept, firstStep });
  }
}

function enginePart({ executor, program }: RunEngine<ExpertProgram>) {
  return { executor, program };
}
