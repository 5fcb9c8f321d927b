import type { ProcessGroup } from '@weft/collectives';
import type { WorkerMetrics } from '@weft/telemetry';
import type { StepResult } from '@weft/training';

/** Turns the results of steps into metrics. */
export class StepMeter {
  readonly #metrics: WorkerMetrics;
  #group: Pick<ProcessGroup, 'stats'> | undefined;
  #sent = 0;
  #received = 0;

  constructor(metrics: WorkerMetrics) {
    this.#metrics = metrics;
  }

  /** From now on counts the bytes of this ring. */
  follow(group: Pick<ProcessGroup, 'stats'>): void {
    this.#group = group;
    this.#sent = group.stats.bytesSent;
    this.#received = group.stats.bytesReceived;
  }

  /** To be called after every step. */
  stepDone({
    applied,
    batch,
    deviceBytes,
    report,
  }: Pick<StepResult, 'applied' | 'batch' | 'deviceBytes' | 'report'>): void {
    const { bytesSent = this.#sent, bytesReceived = this.#received } = this.#group?.stats ?? {};
    this.#metrics.stepDone({
      step: report.step,
      applied,
      seconds: {
        data: report.dataSeconds,
        compute: report.computeSeconds,
        communication: report.communicationSeconds,
        apply: report.applySeconds,
      },
      ringBytes: {
        sent: bytesSent - this.#sent + deviceBytes.sent,
        received: bytesReceived - this.#received + deviceBytes.received,
      },
      exchange: report.moe,
      batch,
    });
    this.#sent = bytesSent;
    this.#received = bytesReceived;
  }
}
