import type { ProcessGroup } from '@weft/collectives';
import { mapSources } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { HeldOutLoss } from '@weft/contracts';
import { MixtureSchedule, stepRanges } from '@weft/mixture';
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

  evaluated(loss: HeldOutLoss): void {
    this.#metrics.evaluated(loss);
  }

  /** The function to call after every step of a run with this configuration. */
  stepsOf({ data, globalBatchSize }: RunConfig): (result: StepResult) => void {
    const schedule = new MixtureSchedule(data.weights);
    return (result) => this.#stepDone(stepRanges(schedule, globalBatchSize, result.report.step), result);
  }

  #stepDone(ranges: ReturnType<typeof stepRanges>, { applied, report, vote }: StepResult): void {
    const { bytesSent = this.#sent, bytesReceived = this.#received } = this.#group?.stats ?? {};
    this.#metrics.stepDone({
      step: report.step,
      loss: vote.loss,
      learningRate: report.learningRate,
      gradNorm: vote.gradNorm,
      applied,
      tokensPerSecond: report.tokensPerSecond,
      sequences: mapSources(ranges, ({ first, end }) => end - first),
      seconds: {
        data: report.dataSeconds,
        compute: report.computeSeconds,
        communication: report.communicationSeconds,
        apply: report.applySeconds,
      },
      ringBytes: { sent: bytesSent - this.#sent, received: bytesReceived - this.#received },
      moe: report.moe,
    });
    this.#sent = bytesSent;
    this.#received = bytesReceived;
  }
}
