import type { DataPlane, ExpertHost } from '@weft/collectives';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import type { Assignment } from '@weft/proto';
import type { SpanRecorder, WorkClock, WorkerMetrics } from '@weft/telemetry';
import {
  type ExpertSession,
  type ExpertSessionOptions,
  type ExpertStepResult,
  exchangeShape,
  type TrainOutcome,
} from '@weft/training';
import type { Generation } from './generation.js';

/** The part of an `ExpertSession` that a worker uses. */
export type ExpertServing = Pick<ExpertSession, 'serve' | 'close' | 'engine' | 'experts'>;

/** Options of an `ExpertRun`. */
export interface ExpertRunOptions {
  readonly dataPlane: Pick<DataPlane, 'hostExperts'>;
  readonly openExperts: (options: ExpertSessionOptions) => Promise<ExpertServing>;
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

/** A run on an expert worker. Its session is kept from generation to generation while the worker holds the same experts. */
export class ExpertRun {
  readonly #options: ExpertRunOptions;
  #held: ExpertServing | undefined;

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
      const held = await this.#hold(assignment, config, localWorkers);
      onJoined(held.engine);
      const { runId } = assignment;
      this.#options.metrics.servesRun({ runId, worldSize: plan.worldSize, generation: plan.generation });
      return await held.serve(plan, host, generation, signals);
    } finally {
      await host.close();
    }
  }

  async close(): Promise<void> {
    const held = this.#held;
    this.#held = undefined;
    await held?.close();
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

  async #hold(assignment: Assignment, config: RunConfig, localWorkers: number): Promise<ExpertServing> {
    const { timer, spans, openExperts, metrics, onExchange, threads } = this.#options;
    const { rank, expertAddresses, runDirectory } = assignment;
    const experts = exchangeShape(config, expertAddresses.length).placement[rank]!;
    const isSame = this.#held?.experts.first === experts.first && this.#held.experts.end === experts.end;
    if (this.#held !== undefined && isSame) return this.#held;
    await this.close();
    const ownThreads = threads === undefined ? {} : { threads };
    const onStep = (result: ExpertStepResult) => metrics.stepServed(result);
    this.#held = await openExperts({
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
    return this.#held;
  }
}
