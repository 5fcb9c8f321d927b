import { type PerSource, type SourceId, WEFT_VERSION } from '@weft/common';
import type { MoeReport } from '@weft/contracts';
import { Registry } from 'prom-client';
import { workerSeries } from './metrics.js';

/** What a step spends its time on, as the label `phase`. */
const STEP_PHASES = ['data', 'compute', 'communication', 'apply'] as const;
type StepPhase = (typeof STEP_PHASES)[number];

/** What a worker measured in one step. Loss, norm, tokens and sequences are of the whole run, times and bytes its own. */
export interface StepMeasurements {
  readonly step: number;
  /** Mean over the text tokens of the global batch, nats. */
  readonly loss: number;
  readonly learningRate: number;
  /** Before clipping. */
  readonly gradNorm: number;
  /** Whether the gradients were finite and the step was applied. */
  readonly applied: boolean;
  /** Positions of the global batch per second. */
  readonly tokensPerSecond: number;
  /** Sequences of this step. */
  readonly sequences: PerSource<number>;
  readonly seconds: Readonly<Record<StepPhase, number>>;
  readonly ringBytes: { readonly sent: number; readonly received: number };
  /** Of models with MoE layers. */
  readonly moe?: MoeReport | undefined;
}

/** What an expert worker measured in one step. */
export interface ServedStep {
  readonly step: number;
  /** Whether the gradients were finite and the step was applied. */
  readonly applied: boolean;
  /** Spent on answers and gradients. */
  readonly computeSeconds: number;
  /** Without anything to compute. */
  readonly idleSeconds: number;
  readonly applySeconds: number;
}

/** What a worker reports to Prometheus. */
export class WorkerMetrics {
  readonly registry = new Registry();
  readonly #series = workerSeries(this.registry);

  constructor() {
    this.#series.build.set({ version: WEFT_VERSION, node_version: process.version }, 1);
    for (const phase of STEP_PHASES) this.#series.phaseDuration.zero({ phase });
    this.leftRun();
  }

  /** As a rank; the counters of the run's sources begin at 0, or go on where another run has counted them. */
  joinedRun(membership: {
    readonly runId: string;
    readonly rank: number;
    readonly worldSize: number;
    readonly generation: number;
    readonly sources: readonly SourceId[];
  }): void {
    const { runId, rank, worldSize, generation, sources } = membership;
    this.#series.run.reset();
    this.#series.run.set({ run_id: runId }, 1);
    this.#series.rank.set(rank);
    this.#series.worldSize.set(worldSize);
    this.#series.generation.set(generation);
    for (const source of sources) this.#series.sequences.inc({ source }, 0);
  }

  /** As an expert worker, not as a rank. */
  servesRun(membership: Omit<Parameters<WorkerMetrics['joinedRun']>[0], 'rank' | 'sources'>): void {
    this.joinedRun({ ...membership, rank: -1, sources: [] });
  }

  leftRun(): void {
    this.#series.run.reset();
    this.#series.rank.set(-1);
    this.#series.worldSize.set(0);
  }

  /** After every committed step. */
  stepDone(measured: StepMeasurements): void {
    const series = this.#series;
    series.step.set(measured.step);
    series.loss.set(measured.loss);
    series.learningRate.set(measured.learningRate);
    series.gradNorm.set(measured.gradNorm);
    series.tokensPerSecond.set(measured.tokensPerSecond);
    (measured.applied ? series.stepsApplied : series.stepsSkipped).inc();
    for (const [source, sequences] of Object.entries(measured.sequences)) series.sequences.inc({ source }, sequences);
    for (const phase of STEP_PHASES) series.phaseDuration.observe({ phase }, measured.seconds[phase]);
    series.ringSent.inc(measured.ringBytes.sent);
    series.ringReceived.inc(measured.ringBytes.received);
    if (measured.moe !== undefined) this.#expertsDone(measured.moe);
  }

  /** After every evaluation of the held-out sequences; a source that takes no part is null. */
  evaluated({ loss, sources }: { readonly loss: number; readonly sources: PerSource<number | null> }): void {
    this.#series.heldOutLoss.set(loss);
    for (const [source, ofSource] of Object.entries(sources))
      if (ofSource !== null) this.#series.heldOutSourceLoss.set({ source }, ofSource);
  }

  #expertsDone({ layers, bytesSent, bytesReceived, waitingSeconds }: MoeReport): void {
    const series = this.#series;
    for (const { layer: number, routed, dropped, ...measured } of layers) {
      const layer = `${number}`;
      for (const [expert, assignments] of routed.entries()) {
        series.expertAssignments.inc({ layer, expert: `${expert}` }, assignments);
        series.expertDroppedAssignments.inc({ layer, expert: `${expert}` }, dropped[expert] ?? 0);
      }
      series.expertDroppedShare.set({ layer }, measured.droppedShare);
      series.expertImbalance.set({ layer }, measured.imbalance);
      series.routerEntropy.set({ layer }, measured.routerEntropy);
      series.loadBalanceLoss.set({ layer }, measured.loadBalanceLoss);
      series.routerZLoss.set({ layer }, measured.routerZLoss);
    }
    series.expertSent.inc(bytesSent);
    series.expertReceived.inc(bytesReceived);
    series.expertWaiting.inc(waitingSeconds);
  }

  /** After every step decided on an expert worker. */
  stepServed({ step, applied, computeSeconds, idleSeconds, applySeconds }: ServedStep): void {
    const series = this.#series;
    series.step.set(step);
    (applied ? series.stepsApplied : series.stepsSkipped).inc();
    series.phaseDuration.observe({ phase: 'compute' }, computeSeconds);
    series.phaseDuration.observe({ phase: 'apply' }, applySeconds);
    series.expertIdle.inc(idleSeconds);
  }

  ringFailed(): void {
    this.#series.ringFailures.inc();
  }

  coordinatorReconnected(): void {
    this.#series.reconnects.inc();
  }
}
