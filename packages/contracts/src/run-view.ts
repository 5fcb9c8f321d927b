import { type ErrorCode, errorCode } from '@weft/common';
import { type RunSummary, RunStatus as StatusMessage } from '@weft/proto';

/** Where a run stands, as its log says. `finished`, `stopped` and `failed` are ends; the last two can be resumed. */
export type RunStatus = 'queued' | 'running' | 'stopping' | 'finished' | 'stopped' | 'failed';

/** A `WeftError` as a run keeps it. */
export interface RunFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly cure: string | null;
}

/** A run as people see it, whether a coordinator described it or the files of the run did. */
export interface RunView {
  readonly runId: string;
  readonly recipe: string;
  /** `interrupted` where the log says otherwise, but no coordinator lives to run it. */
  readonly status: RunStatus | 'interrupted';
  /** Why it has this status, one sentence without its full stop. */
  readonly reason: string;
  /** The last committed step; 0 before the first. */
  readonly step: number;
  readonly steps: number;
  /** What the run asks for. */
  readonly workers: number;
  /** What it trains on now; 0 while it does not. */
  readonly worldSize: number;
  readonly generation: number;
  /** The step of the newest checkpoint; 0 when there is none. */
  readonly checkpointStep: number;
  readonly directory: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly failure: RunFailure | null;
  /** Of the last committed step; null before the first, and where it was not finite. */
  readonly loss: number | null;
  readonly priority: number;
  /** Among the waiting jobs, from 1; null when it does not wait, and when a person paused it. */
  readonly queuePosition: number | null;
  /** Milliseconds since the Unix epoch; null where it cannot be known. */
  readonly expectedStartMs: number | null;
  /** The sweep it belongs to; null for a run of its own. */
  readonly parent: string | null;
  /** Since it was launched or resumed by hand. */
  readonly failedAttempts: number;
  readonly maxAttempts: number;
}

/** Whether nothing more happens to the run until somebody resumes it. */
export function hasEnded({ status }: Pick<RunView, 'status'>): boolean {
  return status === 'finished' || status === 'stopped' || status === 'failed' || status === 'interrupted';
}

const STATUS_TO_PROTO: Readonly<Record<RunView['status'], StatusMessage>> = {
  queued: StatusMessage.RUN_STATUS_QUEUED,
  running: StatusMessage.RUN_STATUS_RUNNING,
  stopping: StatusMessage.RUN_STATUS_STOPPING,
  finished: StatusMessage.RUN_STATUS_FINISHED,
  stopped: StatusMessage.RUN_STATUS_STOPPED,
  failed: StatusMessage.RUN_STATUS_FAILED,
  // Never sent: a coordinator that describes a run lives.
  interrupted: StatusMessage.RUN_STATUS_UNSPECIFIED,
};

export function runViewToProto({ failure, ...view }: RunView): RunSummary {
  return {
    ...view,
    status: STATUS_TO_PROTO[view.status],
    failureCode: failure?.code ?? '',
    failureMessage: failure?.message ?? '',
    failureCure: failure?.cure ?? '',
    queuePosition: view.queuePosition ?? 0,
    expectedStartMs: Math.round(view.expectedStartMs ?? 0),
    parent: view.parent ?? '',
    loss: view.loss ?? undefined,
  };
}

/** A status that a later version of the coordinator made up counts as `running`: it is no end that we know. */
export function runViewFromProto({ failureCode, failureMessage, failureCure, ...summary }: RunSummary): RunView {
  const status = STATUSES.find((each) => STATUS_TO_PROTO[each] === summary.status) ?? 'running';
  const failure: RunFailure | null =
    failureCode === ''
      ? null
      : { code: errorCode(failureCode), message: failureMessage, cure: failureCure === '' ? null : failureCure };
  return {
    ...summary,
    status,
    failure,
    loss: summary.loss ?? null,
    queuePosition: summary.queuePosition === 0 ? null : summary.queuePosition,
    expectedStartMs: summary.expectedStartMs === 0 ? null : summary.expectedStartMs,
    parent: summary.parent === '' ? null : summary.parent,
  };
}

const STATUSES: readonly RunStatus[] = ['queued', 'running', 'stopping', 'finished', 'stopped', 'failed'];
