import type { PerSource } from '@weft/common';
import { type MetricsRow, type RunStatus, TIME_BUCKETS, type WorkTime } from '@weft/contracts';
import { type Gauge, Registry } from 'prom-client';
import { RUN_METRICS } from './metrics.js';
import { createSeries } from './series.js';

const STATUSES: readonly RunStatus[] = ['queued', 'running', 'stopping', 'finished', 'stopped', 'failed'];

/** A run at the moment of a scrape. What is undefined is not known, and has no series. */
export interface RunSnapshot {
  readonly runId: string;
  readonly recipe: string;
  readonly status: RunStatus;
  readonly step: number;
  readonly steps: number;
  readonly workers: number;
  readonly worldSize: number;
  readonly generation: number;
  /** The last row of `metrics.jsonl`, and the last ones with an evaluation. */
  readonly latest: MetricsRow | undefined;
  readonly heldOut: MetricsRow['heldOut'];
  readonly taskScores: MetricsRow['taskScores'];
  /** Of the steps that count, and of all steps of the run at its end. */
  readonly sequences: PerSource<number>;
  readonly plannedSequences: PerSource<number>;
  readonly weights: PerSource<number>;
  /** Positions of the sequences. */
  readonly tokens: number;
  readonly checkpoint: {
    readonly step: number;
    readonly atMs: number | undefined;
    readonly seconds: number | undefined;
    readonly bytes: number | undefined;
  };
  /** What only grows while the coordinator runs. */
  readonly counts: RunCounts;
  /** What workers have reported. */
  readonly time: WorkTime;
  readonly goodput: number | undefined;
  readonly etaSeconds: number | undefined;
  /** Of the last steps. */
  readonly medianStepSeconds: number | undefined;
  /** Between two checkpoints that the run asks for. */
  readonly checkpointIntervalSeconds: number | undefined;
  readonly cost: number | undefined;
  readonly queuePosition: number | undefined;
  readonly queueWaitSeconds: number;
  /** By rank: how long after the first one it came to the last all-reduce. */
  readonly arrivalSeconds: readonly number[];
}

/** What is counted of a run while a coordinator runs. */
export interface RunCounts {
  readonly committed: number;
  readonly skipped: number;
  /** Steps far over the usual loss or gradient norm. */
  readonly spikes: number;
  readonly lossTokens: number;
  readonly workersLost: number;
  readonly ringFailures: number;
  /** By rank: how long the others waited for it. */
  readonly waitedForSeconds: readonly number[];
  /** By layer, then by expert. */
  readonly experts: ReadonlyMap<number, { readonly routed: readonly number[]; readonly dropped: readonly number[] }>;
}

/** The series of all runs. Gauges and counters are set anew at every scrape, so that a run that is left out has none. */
export class RunMetrics {
  readonly #series;

  constructor(registry: Registry = new Registry()) {
    this.#series = createSeries(registry, RUN_METRICS);
  }

  /** From the commit of a step to that of the next one. */
  stepTook(runId: string, seconds: number): void {
    this.#series.stepDuration.observe({ run: runId }, seconds);
  }

  /** The run is not among those of the next scrape. */
  forget(runId: string): void {
    this.#series.stepDuration.remove({ run: runId });
  }

  set(runs: readonly RunSnapshot[]): void {
    for (const [name, series] of Object.entries(this.#series)) if (name !== 'stepDuration') series.reset();
    for (const run of runs) this.#set(run);
  }

  #set(run: RunSnapshot): void {
    const series = this.#series;
    const { runId, counts, latest, checkpoint } = run;
    const of = { run: runId };
    series.info.set({ ...of, recipe: run.recipe }, 1);
    for (const status of STATUSES) series.status.set({ ...of, status }, status === run.status ? 1 : 0);
    series.step.set(of, run.step);
    series.steps.set(of, run.steps);
    series.workers.set(of, run.workers);
    series.worldSize.set(of, run.worldSize);
    series.generation.set(of, run.generation);
    for (const [source, sequences] of Object.entries(run.sequences)) series.sequences.set({ ...of, source }, sequences);
    for (const [source, planned] of Object.entries(run.plannedSequences))
      series.plannedSequences.set({ ...of, source }, planned);
    const total = Object.values(run.weights).reduce((sum, each) => sum + each, 0);
    for (const [source, weight] of Object.entries(run.weights))
      series.sourceWeight.set({ ...of, source }, weight / total);
    series.tokens.set(of, run.tokens);
    series.checkpointStep.set(of, checkpoint.step);
    setKnown(series.checkpointTime, of, checkpoint.atMs === undefined ? undefined : checkpoint.atMs / 1000);
    setKnown(series.checkpointDuration, of, checkpoint.seconds);
    setKnown(series.checkpointSize, of, checkpoint.bytes);
    for (const bucket of TIME_BUCKETS) series.time.inc({ ...of, bucket }, run.time[bucket]);
    setKnown(series.goodput, of, run.goodput);
    setKnown(series.eta, of, run.etaSeconds);
    setKnown(series.medianStep, of, run.medianStepSeconds);
    setKnown(series.checkpointInterval, of, run.checkpointIntervalSeconds);
    setKnown(series.cost, of, run.cost);
    setKnown(series.queuePosition, of, run.queuePosition);
    series.queueWait.set(of, run.queueWaitSeconds);
    for (const [rank, seconds] of run.arrivalSeconds.entries())
      series.arrivalDelay.set({ ...of, rank: `${rank}` }, seconds);
    this.#setCounts(of, counts);
    if (latest !== undefined) this.#setStep(of, latest);
    this.#setEvaluations(of, run);
  }

  #setCounts(of: { readonly run: string }, counts: RunCounts): void {
    const series = this.#series;
    series.stepsCommitted.inc(of, counts.committed);
    series.stepsSkipped.inc(of, counts.skipped);
    series.spikes.inc(of, counts.spikes);
    series.lossTokens.inc(of, counts.lossTokens);
    series.workersLost.inc(of, counts.workersLost);
    series.ringFailures.inc(of, counts.ringFailures);
    for (const [rank, seconds] of counts.waitedForSeconds.entries())
      series.waitedFor.inc({ ...of, rank: `${rank}` }, seconds);
    for (const [number, { routed, dropped }] of counts.experts) {
      const layer = `${number}`;
      for (const [at, assignments] of routed.entries()) {
        series.expertAssignments.inc({ ...of, layer, expert: `${at}` }, assignments);
        series.expertDroppedAssignments.inc({ ...of, layer, expert: `${at}` }, dropped[at] ?? 0);
      }
    }
  }

  #setStep(of: { readonly run: string }, row: MetricsRow): void {
    const series = this.#series;
    setKnown(series.stepTime, of, Date.parse(row.time) / 1000);
    // A loss that is not finite is what an alert looks for.
    series.loss.set(of, row.loss ?? Number.NaN);
    series.gradNorm.set(of, row.gradNorm ?? Number.NaN);
    setKnown(series.learningRate, of, row.learningRate);
    setKnown(series.tokensPerSecond, of, row.tokensPerSecond);
    setKnown(series.mfu, of, row.mfu);
    for (const [source, loss] of Object.entries(row.sourceLoss ?? {}))
      setKnown(series.sourceLoss, { ...of, source }, loss);
    for (const [measure, value] of Object.entries(row.measures ?? {}))
      setKnown(series.measure, { ...of, measure }, value);
    for (const { layer: number, ...measured } of row.moe?.layers ?? []) {
      const layer = `${number}`;
      series.expertDroppedShare.set({ ...of, layer }, measured.droppedShare);
      series.expertImbalance.set({ ...of, layer }, measured.imbalance);
      series.routerEntropy.set({ ...of, layer }, measured.routerEntropy);
      series.loadBalanceLoss.set({ ...of, layer }, measured.loadBalanceLoss);
      series.routerZLoss.set({ ...of, layer }, measured.routerZLoss);
    }
  }

  #setEvaluations(of: { readonly run: string }, { heldOut, taskScores }: RunSnapshot): void {
    const series = this.#series;
    setKnown(series.heldOutLoss, of, heldOut?.loss);
    for (const [source, loss] of Object.entries(heldOut?.sources ?? {}))
      setKnown(series.heldOutSourceLoss, { ...of, source }, loss);
    for (const [task, byShots] of Object.entries(taskScores?.scores ?? {}))
      for (const [shots, score] of Object.entries(byShots)) setKnown(series.taskScore, { ...of, task, shots }, score);
  }
}

/** Sets a gauge where there is a number. */
function setKnown<Label extends string>(
  gauge: Gauge<Label>,
  labels: Readonly<Record<Label, string>>,
  value: number | null | undefined,
): void {
  if (value !== null && value !== undefined && Number.isFinite(value)) gauge.set(labels, value);
}
