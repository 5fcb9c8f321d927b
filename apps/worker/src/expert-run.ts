import type { DataPlane, ExpertHost } from '@weft/collectives';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import type { Assignment } from '@weft/proto';
import type { SpanRecorder, WorkClock, WorkerMetrics } from '@weft/telemetry';
import {
  type ExpertHoldings,
  type ExpertRoles,
  type ExpertSession,
  type ExpertSessionOptions,
  type ExpertStepResult,
  exchangeShape,
  expertRoles,
  type TrainOutcome,
} from '@weft/training';
import type { Generation } from './generation.js';

/** Options of an `ExpertRun`. */
export interface ExpertRunOptions {
  readonly dataPlane: Pick<DataPlane, 'hostExperts' | 'linkExperts'>;
  readonly openExperts: (options: ExpertSessionOptions) => Promise<ExpertSession>;
  /** Threads inside one op; undefined: the run's setting, or this process's share of the cores. */
  readonly threads: number | undefined;
  /** How long to wait for the ranks. */
  readonly joinTimeoutMs: number;
  /** Told at the start of a generation how tokens travel, where they might between GPUs. */
  readonly onExchange: (description: string) => void;
  readonly metrics: Pick<WorkerMetrics, 'servesRun' | 'stepServed'>;
  readonly timer: WorkClock;
  readonly spans: SpanRecorder;
}

/** Ranges of experts are known by their bounds. */
type Experts = ExpertRoles['own'];

/**
 * A run on an expert worker: one session for its own experts, and one for the copy of another worker's. Sessions are kept from
 * generation to generation while the worker holds the same experts.
 */
export class ExpertRun {
  readonly #options: ExpertRunOptions;
  #sessions: readonly ExpertSession[] = [];

  constructor(options: ExpertRunOptions) {
    this.#options = options;
  }

  /**
   * Serves one generation to its end.
   * @param onJoined called with the engine's description once every rank is connected.
   */
  async serve(generation: Generation, localWorkers: number, onJoined: (engine: string) => void): Promise<TrainOutcome> {
    const { assignment, plan, signals } = generation;
    const config = resolveRunConfig(JSON.parse(assignment.configJson), 'the assigned configuration');
    const host = await this.#join(generation, config);
    try {
      const roles = expertRoles(config, plan);
      const held = [roles.own, ...(roles.copy === undefined ? [] : [roles.copy])];
      // What it held is of no use where the state comes from somewhere else.
      if (plan.state.kind === 'fresh' || plan.state.kind === 'checkpoint') await this.#keepOnly(held);
      const open = (experts: Experts) => this.#open(experts, assignment, config, localWorkers);
      const own = await open(roles.own);
      const copy = roles.copy && (await open(roles.copy));
      onJoined(own.engine);
      const { runId } = assignment;
      this.#options.metrics.servesRun({ runId, worldSize: plan.worldSize, generation: plan.generation });
      const links = await this.#link(generation, roles);
      const holdings: ExpertHoldings = {
        roles,
        copy,
        links,
        find: (experts) => this.#find(experts),
        onSettled: () => void this.#keepOnly(held),
      };
      try {
        return await own.serve(plan, host, generation, signals, holdings);
      } finally {
        links.close();
      }
    } finally {
      await host.close();
    }
  }

  async close(): Promise<void> {
    await this.#keepOnly([]);
  }

  #join({ assignment, plan, signals }: Generation, config: RunConfig): Promise<ExpertHost> {
    return this.#options.dataPlane.hostExperts({
      runId: assignment.runId,
      generation: plan.generation,
      expertWorker: plan.rank,
      worldSize: plan.worldSize,
      token: assignment.ringToken,
      shape: exchangeShape(config, plan.expertWorkers),
      timeoutMs: this.#options.joinTimeoutMs,
      signal: signals.released,
    });
  }

  #link({ assignment, plan, signals }: Generation, { receivers, senders }: ExpertRoles) {
    return this.#options.dataPlane.linkExperts({
      runId: assignment.runId,
      generation: plan.generation,
      expertWorker: plan.rank,
      addresses: assignment.expertAddresses,
      receivers,
      senders,
      token: assignment.ringToken,
      timeoutMs: this.#options.joinTimeoutMs,
      signal: signals.released,
    });
  }

  #find({ first, end }: Experts): ExpertSession | undefined {
    return this.#sessions.find(({ experts }) => experts.first === first && experts.end === end);
  }

  async #open(
    experts: Experts,
    { runDirectory }: Assignment,
    config: RunConfig,
    localWorkers: number,
  ): Promise<ExpertSession> {
    const { timer, spans, openExperts, metrics, onExchange, threads } = this.#options;
    const open = this.#find(experts);
    if (open !== undefined) return open;
    const ownThreads = threads === undefined ? {} : { threads };
    const onStep = (result: ExpertStepResult) => metrics.stepServed(result);
    const session = await openExperts({
      config,
      experts,
      runDirectory,
      localWorkers,
      onStep,
      onExchange,
      timer,
      spans,
      ...ownThreads,
    });
    this.#sessions = [...this.#sessions, session];
    return session;
  }

  /** Closes the sessions of all other experts. */
  async #keepOnly(kept: readonly Experts[]): Promise<void> {
    const isKept = ({ experts }: ExpertSession) =>
      kept.some(({ first, end }) => experts.first === first && experts.end === end);
    const others = this.#sessions.filter((session) => !isKept(session));
    this.#sessions = this.#sessions.filter(isKept);
    await Promise.all(others.map((session) => session.close()));
  }
}
