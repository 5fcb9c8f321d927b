import { errorCode } from '@weft/common';
import { type RunSummary, RunStatus as StatusMessage } from '@weft/proto';
import type { RunFailure, RunStatus, RunView } from './run-view.js';

const STATUS_TO_PROTO: Readonly<Record<RunView['status'], StatusMessage>> = {
  queued: StatusMessage.RUN_STATUS_QUEUED,
  running: StatusMessage.RUN_STATUS_RUNNING,
  stopping: StatusMessage.RUN_STATUS_STOPPING,
  finished: StatusMessage.RUN_STATUS_FINISHED,
  stopped: StatusMessage.RUN_STATUS_STOPPED,
  failed: StatusMessage.RUN_STATUS_FAILED,
  // Never sent: only a living coordinator describes runs.
  interrupted: StatusMessage.RUN_STATUS_UNSPECIFIED,
};

/** A run as its message. */
export function runViewToProto({ failure, ...view }: RunView): RunSummary {
  return {
    ...view,
    status: STATUS_TO_PROTO[view.status],
    failureCode: failure?.code ?? '',
    failureMessage: failure?.message ?? '',
    failureHint: failure?.hint ?? '',
    queuePosition: view.queuePosition ?? 0,
    expectedStartMs: Math.round(view.expectedStartMs ?? 0),
    parent: view.parent ?? '',
    loss: view.loss ?? undefined,
  };
}

/** A status of a later version counts as `running`, because it is no known end. */
export function runViewFromProto({ failureCode, failureMessage, failureHint, ...summary }: RunSummary): RunView {
  const status = STATUSES.find((each) => STATUS_TO_PROTO[each] === summary.status) ?? 'running';
  const failure: RunFailure | null =
    failureCode === ''
      ? null
      : { code: errorCode(failureCode), message: failureMessage, hint: failureHint === '' ? null : failureHint };
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
