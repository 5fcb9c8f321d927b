import { WeftError } from '@weft/common';
import { type RunView, runViewFromProto } from '@weft/contracts';
import type { Home } from '@weft/files';
import { type RunSummary, SweepState, type SweepSummary } from '@weft/proto';
import {
  type AnyRecord,
  drivenGrid,
  drivenSweep,
  driveRuns,
  isGridRecord,
  parseSweepRecord,
  type SweepPort,
} from '@weft/sweeps';
import type { Logger } from '@weft/telemetry';
import type { DecisionQueue } from './decision-queue.js';
import { MetricsFile } from './metrics-file.js';
import type { SweepRequests } from './sweep-requests.js';

/** What the drivers of sweeps use of the coordinator. */
export interface SweepDriversOptions {
  readonly sweeps: SweepRequests;
  readonly queue: DecisionQueue;
  readonly home: Home;
  readonly summaryOf: (runId: string) => RunSummary;
  readonly log: Logger;
  readonly closing: AbortSignal;
}

/** Drives every sweep that has not ended, with one driver each. */
export class SweepDrivers {
  readonly #options: SweepDriversOptions;
  readonly #driven = new Set<string>();

  constructor(options: SweepDriversOptions) {
    this.#options = options;
  }

  /** Starts the drivers of all sweeps that the queue holds. */
  async startAll(): Promise<void> {
    for (const sweep of (await this.#options.sweeps.list()).sweeps) this.start(sweep);
  }

  /** Starts the driver of a sweep, unless it has one, has ended, or another client launched it and drives it. */
  start({ sweepId, state, sweepJson }: SweepSummary): void {
    const { home, log, closing } = this.#options;
    const isOpen = state === SweepState.SWEEP_STATE_RUNNING || state === SweepState.SWEEP_STATE_READY;
    const record = isOpen && !this.#driven.has(sweepId) ? this.#recordOf(sweepId, sweepJson) : undefined;
    if (record === undefined) return;
    this.#driven.add(sweepId);
    const port = this.#portOf(record);
    const driving = isGridRecord(record)
      ? driveRuns(drivenGrid(record, home), port, closing)
      : driveRuns(drivenSweep(record, home), port, closing);
    driving
      .catch((thrown: unknown) => {
        if (closing.aborted) return;
        const error = WeftError.from(thrown);
        log.error({ error, sweepId }, `the sweep ${sweepId} is not driven any more: ${error.sentence}`);
      })
      .finally(() => this.#driven.delete(sweepId));
  }

  #recordOf(sweepId: string, sweepJson: string): AnyRecord | undefined {
    try {
      return parseSweepRecord(sweepId, sweepJson);
    } catch (thrown) {
      const error = WeftError.from(thrown);
      this.#options.log.info({ sweepId }, `the sweep ${sweepId} is left to those who launched it: ${error.message}`);
      return undefined;
    }
  }

  #portOf({ id: sweepId, runs: points }: AnyRecord): SweepPort {
    const { sweeps, queue, home, summaryOf, log } = this.#options;
    return {
      runs: async () => {
        const { state, children } = await sweeps.get({ sweepId });
        if (state === SweepState.SWEEP_STATE_CANCELLED) return undefined;
        const rest = [...children];
        const summaries = points.map(({ reusedRunId }) =>
          reusedRunId === null ? rest.shift() : summaryOf(reusedRunId),
        );
        return summaries.flatMap((summary) => (summary === undefined ? [] : runViewFromProto(summary)));
      },
      metrics: ({ runId }: RunView) => new MetricsFile(home.metricsFile(runId)).read(),
      stop: async (runId, reason) => {
        await queue.submit({ kind: 'stop', runId, saveCheckpoint: false, reason }).catch((thrown: unknown) => {
          if (!WeftError.is(thrown, 'failed_precondition')) throw thrown;
        });
      },
      finish: async (result) => {
        await sweeps.finish({ sweepId, resultJson: JSON.stringify(result) });
        log.info({ sweepId, directory: result.directory }, `the sweep ${sweepId} is finished`);
      },
      note: (sentence) => log.info({ sweepId }, sentence),
    };
  }
}
