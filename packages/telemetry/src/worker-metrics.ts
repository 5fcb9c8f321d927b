import { type PerSource, type SourceId, WEFT_VERSION } from '@weft/common';
import { type BatchCounts, type MoeReport, type RemoteCounts, TIME_BUCKETS } from '@weft/contracts';
import { Registry } from 'prom-client';
import { WORKER_METRICS } from './metrics.js';
import { createSeries } from './series.js';
import { WorkClock } from './work-clock.js';

/** What a step spends its time on, as the label `phase`. */
const STEP_PHASES = ['data', 'compute', 'communication', 'apply'] as const;
type StepPhase = (typeof STEP_PHASES)[number];

/** What a worker measured in one step, all of it its own. */
export interface StepMeasurements {
  readonly step: number;
  /** Whether the gradients were finite and the step was applied. */
  readonly applied: boolean;
  readonly seconds: Readonly<Record<StepPhase, number>>;
  readonly ringBytes: { readonly sent: number; readonly received: number };
  /** The exchange with the expert workers, where there was one. */
  readonly exchange?: Omit<MoeReport, 'layers'> | undefined;
  /** What it trained on, where the task tells. */
  readonly batch?: BatchCounts | undefined;
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
  readonly #series = createSeries(this.registry, WORKER_METRICS);

  readonly #clock: WorkClock;
  /** What was counted of the decoder of the dataset in use. */
  #decoded = { images: 0, seconds: 0, replacedThreads: 0 };
  #remote: RemoteCounts | undefined;

  /** @param clock what the worker spends its time on */
  constructor(clock: WorkClock = new WorkClock()) {
    this.#clock = clock;
    this.#series.build.set({ version: WEFT_VERSION, node_version: process.version }, 1);
    for (const phase of STEP_PHASES) this.#series.phaseDuration.zero({ phase });
    this.leftRun();
  }

  /** Brings to now what changes all the time. Call it just before a scrape. */
  onScrape(): void {
    const { spent } = this.#clock;
    this.#series.time.reset();
    for (const bucket of TIME_BUCKETS) this.#series.time.inc({ bucket }, spent[bucket]);
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
    for (const source of sources)
      for (const series of [this.#series.sequences, this.#series.images, this.#series.lossTokens])
        series.inc({ source }, 0);
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
  stepDone({ step, applied, seconds, ringBytes, exchange, batch }: StepMeasurements): void {
    const series = this.#series;
    series.step.set(step);
    (applied ? series.stepsApplied : series.stepsSkipped).inc();
    for (const phase of STEP_PHASES) series.phaseDuration.observe({ phase }, seconds[phase]);
    series.stepDuration.observe(STEP_PHASES.reduce((sum, phase) => sum + seconds[phase], 0));
    series.ringSent.inc(ringBytes.sent);
    series.ringReceived.inc(ringBytes.received);
    if (exchange !== undefined) {
      series.expertSent.inc(exchange.bytesSent);
      series.expertReceived.inc(exchange.bytesReceived);
      series.expertWaiting.inc(exchange.waitingSeconds);
    }
    if (batch !== undefined) this.#batchTaken(batch);
  }

  /** Training stood still for so long to begin a checkpoint. */
  checkpointBegun(seconds: number): void {
    this.#series.checkpointStall.observe(seconds);
  }

  /** What the index of the run leaves out, by source and reason. */
  indexOpened(leftOut: PerSource<Readonly<Record<string, number>>>): void {
    this.#series.badSamples.reset();
    for (const [source, byReason] of Object.entries(leftOut))
      for (const [reason, samples] of Object.entries(byReason))
        this.#series.badSamples.set({ source, reason }, samples);
  }

  #batchTaken({ sequences, images, lossTokens, queuedBatches, decoded, remote }: BatchCounts): void {
    const series = this.#series;
    for (const [source, count] of Object.entries(sequences)) series.sequences.inc({ source }, count);
    for (const [source, count] of Object.entries(images)) series.images.inc({ source }, count);
    for (const [source, count] of Object.entries(lossTokens)) series.lossTokens.inc({ source }, count);
    series.queuedBatches.set(queuedBatches);
    // Another session has another dataset, which counts from 0.
    const isSame = decoded.images >= this.#decoded.images && decoded.seconds >= this.#decoded.seconds;
    series.decodedImages.inc(decoded.images - (isSame ? this.#decoded.images : 0));
    series.decodeTime.inc(decoded.seconds - (isSame ? this.#decoded.seconds : 0));
    const replacedBefore = isSame ? this.#decoded.replacedThreads : 0;
    series.loaderThreadsReplaced.inc(Math.max(0, decoded.replacedThreads - replacedBefore));
    this.#decoded = decoded;
    if (remote !== undefined) this.#remoteRead(remote);
  }

  /** The counts are those of the process, whatever dataset it reads. */
  #remoteRead(remote: RemoteCounts): void {
    const series = this.#series;
    const before = this.#remote;
    series.remoteBytes.inc(remote.fetchedBytes - (before?.fetchedBytes ?? 0));
    series.remoteRequests.inc(remote.requests - (before?.requests ?? 0));
    series.remoteRetries.inc(remote.retries - (before?.retries ?? 0));
    series.remoteHits.inc(remote.cacheHits - (before?.cacheHits ?? 0));
    series.remoteMisses.inc(remote.cacheMisses - (before?.cacheMisses ?? 0));
    series.remoteWait.inc(remote.waitSeconds - (before?.waitSeconds ?? 0));
    this.#remote = { ...remote };
  }

  /** After every step decided on an expert worker. */
  stepServed({ step, applied, computeSeconds, idleSeconds, applySeconds }: ServedStep): void {
    const series = this.#series;
    series.step.set(step);
    (applied ? series.stepsApplied : series.stepsSkipped).inc();
    series.phaseDuration.observe({ phase: 'compute' }, computeSeconds);
    series.phaseDuration.observe({ phase: 'apply' }, applySeconds);
    series.stepDuration.observe(computeSeconds + idleSeconds + applySeconds);
    series.expertIdle.inc(idleSeconds);
  }

  ringFailed(): void {
    this.#series.ringFailures.inc();
  }

  coordinatorReconnected(): void {
    this.#series.reconnects.inc();
  }
}
