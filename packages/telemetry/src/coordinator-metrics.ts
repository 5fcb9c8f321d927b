import { WEFT_VERSION } from '@weft/common';
import { Registry } from 'prom-client';
import { coordinatorSeries } from './metrics.js';

/** The phases of a run, as the label `phase`. */
export const RUN_PHASES = ['queued', 'running', 'stopping', 'finished', 'stopped', 'failed'] as const;
export type RunPhaseLabel = (typeof RUN_PHASES)[number];

/** What a coordinator tells Prometheus. */
export class CoordinatorMetrics {
  readonly registry = new Registry();
  readonly #series = coordinatorSeries(this.registry);

  constructor() {
    this.#series.build.set({ version: WEFT_VERSION, node_version: process.version }, 1);
    this.setRuns({});
  }

  /** The number of runs in each phase; a phase left out has none. */
  setRuns(counts: Partial<Readonly<Record<RunPhaseLabel, number>>>): void {
    for (const phase of RUN_PHASES) this.#series.runs.set({ phase }, counts[phase] ?? 0);
  }

  setWorkers({ attending, busy }: { readonly attending: number; readonly busy: number }): void {
    this.#series.workersAttending.set(attending);
    this.#series.workersBusy.set(busy);
  }

  /** Seconds; 0 without workers. Call it just before a scrape (`serveMetrics({ onScrape })`). */
  setOldestHeartbeatAge(seconds: number): void {
    this.#series.oldestHeartbeatAge.set(seconds);
  }

  workerLost(): void {
    this.#series.workersLost.inc();
  }

  stepCommitted({ applied }: { readonly applied: boolean }): void {
    this.#series.stepsCommitted.inc();
    if (!applied) this.#series.stepsSkipped.inc();
  }

  generationChanged(): void {
    this.#series.generationChanges.inc();
  }

  checkpointWritten({ seconds, bytes }: { readonly seconds: number; readonly bytes: number }): void {
    this.#series.checkpointsWritten.inc();
    this.#series.checkpointDuration.observe(seconds);
    this.#series.checkpointSize.set(bytes);
  }

  eventAppended({ seconds }: { readonly seconds: number }): void {
    this.#series.eventAppendDuration.observe(seconds);
  }
}
