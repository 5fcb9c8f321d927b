import type { MetricsRow } from '@weft/contracts';
import { type FoundCheckpoint, mendMetrics, type RunRecord } from '../index.js';
import type { Disk } from './simulated-worker.js';

/** What lies on disks of a run. */
export class SimulatedRun {
  readonly runId: string;
  readonly workers: number;
  readonly log: RunRecord[] = [];
  readonly disk: Disk = new Map();
  rows: MetricsRow[] = [];

  constructor(runId: string, workers: number) {
    this.runId = runId;
    this.workers = workers;
  }

  /** A byte of the newest checkpoint turns round: it does not verify any more. */
  corrupt(): void {
    this.disk.delete(Math.max(...this.disk.keys()));
  }

  mendMetrics(): void {
    this.rows = [...mendMetrics(this.rows, this.log)];
  }

  newestCheckpoint(notAfterStep: number): FoundCheckpoint {
    const step = Math.max(0, ...[...this.disk.keys()].filter((saved) => saved <= notAfterStep));
    return { checkpoint: step === 0 ? undefined : { step, directory: `${step}` }, skipped: [] };
  }
}
