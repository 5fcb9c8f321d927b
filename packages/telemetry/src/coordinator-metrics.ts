import { WEFT_VERSION } from '@weft/common';
import { Registry } from 'prom-client';
import { coordinatorSeries } from './metrics.js';

const RUN_STATUSES = ['queued', 'running', 'stopping', 'finished', 'stopped', 'failed'] as const;
type RunStatusLabel = (typeof RUN_STATUSES)[number];

/** What a coordinator reports to Prometheus. */
export class CoordinatorMetrics {
  readonly registry = new Registry();
  readonly #series = coordinatorSeries(this.registry);

  constructor() {
    this.#series.build.set({ version: WEFT_VERSION, node_version: process.version }, 1);
    this.setRuns({});
  }

  /** The number of runs in each status; a status left out has none. */
  setRuns(counts: Partial<Readonly<Record<RunStatusLabel, number>>>): void {
    for (const status of RUN_STATUSES) this.#series.runs.set({ status }, counts[status] ?? 0);
  }

  setWorkers({ connected, busy }: { readonly connected: number; readonly busy: number }): void {
    this.#series.workersConnected.set(connected);
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
