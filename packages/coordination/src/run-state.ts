import { WeftError } from '@weft/common';
import { type DataConfig, DEFAULT_QUEUE, DEFAULT_SOURCE_KINDS, type RunConfig } from '@weft/config';
import { hasEnded, type RunFailure, type RunStatus } from '@weft/contracts';
import type { LedgerRecord } from '@weft/mixture';
import type { Resumed, RunRecord } from './records.js';

/** Grows when the fields of `RunState` change: a `RunState` that was cached with another number is void. */
export const RUN_STATE_VERSION = 3;

/** How many workers of each role. */
export interface WorkerCounts {
  readonly workers: number;
  readonly expertWorkers: number;
}

/** The state of a run from its log: everything that a restarted coordinator knows of it. */
export interface RunState {
  readonly runId: string;
  /** `workers` and `steps` as the last resume left them. */
  readonly config: RunConfig;
  readonly status: RunStatus;
  /** Why it has this status, one sentence without its full stop. */
  readonly reason: string;
  /** The last committed step; 0 before the first. */
  readonly step: number;
  /** The newest generation; 0 before the first. It never goes back. */
  readonly generation: number;
  /** Step of the newest checkpoint; 0 when there is none. */
  readonly checkpointStep: number;
  /** The checkpoints that should be on disk, oldest first: the last `checkpoint.keepLast` that were written. */
  readonly checkpoints: readonly { readonly step: number; readonly directory: string }[];
  /** What the last generation trained on; undefined before the first, and after a resume by hand. */
  readonly lastWorkers: WorkerCounts | undefined;
  /** Loss of the last committed step; null before the first, and where it was not finite. */
  readonly loss: number | null;
  /** How many of the last steps were skipped in a row, because their gradients were not finite. */
  readonly skippedInARow: number;
  /** Why it failed; of a queued run, why its last attempt failed. */
  readonly failure: RunFailure | undefined;
  /** The sweep it belongs to. */
  readonly parent: string | null;
  /** Attempts that failed since it was launched or resumed by hand. */
  readonly failedAttempts: number;
  /** How often it was resumed by hand after its end. */
  readonly resubmissions: number;
  /** It was running and lost all its workers or its coordinator, which may come back in a moment. */
  readonly isInterrupted: boolean;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/**
 * The state after one more record.
 *
 * @throws WeftError `corrupt_data` when the record cannot follow: a log starts with `launched`, and steps have no gap.
 */
export function applyRecord(state: RunState | undefined, record: RunRecord): RunState {
  const updatedAtMs = Date.parse(record.time);
  if (state === undefined) {
    if (record.kind !== 'launched')
      throw new WeftError('corrupt_data', `the log of a run begins with "${record.kind}" instead of "launched"`);
    return {
      runId: record.runId,
      config: completeConfig(record.config),
      status: 'queued',
      reason: 'it was launched',
      step: 0,
      generation: 0,
      checkpointStep: 0,
      checkpoints: [],
      lastWorkers: undefined,
      loss: null,
      skippedInARow: 0,
      failure: undefined,
      parent: record.parent ?? null,
      failedAttempts: 0,
      resubmissions: 0,
      isInterrupted: false,
      createdAtMs: updatedAtMs,
      updatedAtMs,
    };
  }
  return { ...state, ...change(state, record), updatedAtMs };
}

/** Configurations in logs of older versions lack what came later. */
function completeConfig(config: RunConfig): RunConfig {
  const older: Partial<RunConfig> = config;
  const { queue = DEFAULT_QUEUE, expertWorkers = 0, minWorkers = null } = older;
  const { sources = DEFAULT_SOURCE_KINDS }: Partial<DataConfig> = config.data;
  return { ...config, queue, expertWorkers, minWorkers, data: { ...config.data, sources } };
}

function change(state: RunState, record: RunRecord): Partial<RunState> {
  switch (record.kind) {
    case 'launched':
      throw new WeftError('corrupt_data', `the log of run ${state.runId} launches it twice`);
    case 'assigned':
      return {
        generation: record.generation,
        lastWorkers: { workers: record.workers.length, expertWorkers: record.expertWorkers?.length ?? 0 },
        status: state.status === 'stopping' ? 'stopping' : 'running',
        failure: undefined,
        isInterrupted: false,
      };
    case 'committed': {
      const { step, applied, loss } = record.entry;
      if (step !== state.step + 1)
        throw new WeftError(
          'corrupt_data',
          `the log of run ${state.runId} commits step ${step} after step ${state.step}`,
        );
      return { step, loss, skippedInARow: applied ? 0 : state.skippedInARow + 1 };
    }
    case 'checkpointWritten':
      return { checkpointStep: record.step, checkpoints: withCheckpoint(state, record) };
    case 'workerLost':
    case 'ringBroke':
      return {};
    case 'requeued':
      return { status: 'queued', reason: record.reason, isInterrupted: record.yieldedTo === undefined };
    case 'attemptFailed':
      return {
        status: 'queued',
        reason: `attempt ${record.attempt} of ${record.maxAttempts} failed`,
        failure: record.failure,
        failedAttempts: record.attempt,
      };
    case 'resumed':
      return resumed(state, record);
    case 'stopRequested':
      return { status: 'stopping', reason: 'it was asked to stop' };
    case 'stopped':
      return { status: 'stopped', reason: record.reason, isInterrupted: false };
    case 'finished': {
      const reason = `all ${record.step} steps are trained and their checkpoint is written`;
      return { status: 'finished', reason, failure: undefined, isInterrupted: false };
    }
    case 'failed': {
      const { failure } = record;
      const failedAttempts = state.failedAttempts + 1;
      return { status: 'failed', reason: failure.message, failure, failedAttempts, isInterrupted: false };
    }
  }
}

function resumed(state: RunState, record: Resumed): Partial<RunState> {
  const { fromStep, checkpointDirectory, workers, steps, expertWorkers = state.config.expertWorkers } = record;
  if (fromStep > state.step)
    throw new WeftError(
      'corrupt_data',
      `the log of run ${state.runId} resumes from step ${fromStep}, but ends at step ${state.step}`,
    );
  const { minWorkers } = state.config;
  const isSameSize = workers === state.config.workers && expertWorkers === state.config.expertWorkers;
  return {
    status: 'queued',
    reason: record.reason,
    ...(hasEnded(state) ? { resubmissions: state.resubmissions + 1, failedAttempts: 0, failure: undefined } : {}),
    step: fromStep,
    loss: fromStep === state.step ? state.loss : null,
    checkpointStep: fromStep,
    checkpoints:
      checkpointDirectory === null ? [] : withCheckpoint(state, { step: fromStep, directory: checkpointDirectory }),
    lastWorkers: hasEnded(state) || !isSameSize ? undefined : state.lastWorkers,
    skippedInARow: 0,
    config: {
      ...state.config,
      workers,
      minWorkers: minWorkers === null ? null : Math.min(minWorkers, workers),
      steps,
      expertWorkers,
    },
  };
}

/** The checkpoints that should be on disk once this one is the newest. */
function withCheckpoint(
  { checkpoints, config }: RunState,
  { step, directory }: RunState['checkpoints'][number],
): RunState['checkpoints'] {
  const older = checkpoints.filter((checkpoint) => checkpoint.step < step);
  return [...older, { step, directory }].slice(-config.checkpoint.keepLast);
}

/**
 * The state a log describes.
 *
 * @throws WeftError `corrupt_data` when the log is empty or its lines do not follow one another.
 */
export function replay(records: Iterable<RunRecord>): RunState {
  let state: RunState | undefined;
  for (const record of records) state = applyRecord(state, record);
  if (state === undefined) throw new WeftError('corrupt_data', 'the log of a run is empty');
  return state;
}

const KINDS: Readonly<Record<RunRecord['kind'], true>> = {
  launched: true,
  assigned: true,
  committed: true,
  checkpointWritten: true,
  workerLost: true,
  ringBroke: true,
  requeued: true,
  attemptFailed: true,
  resumed: true,
  stopRequested: true,
  stopped: true,
  finished: true,
  failed: true,
};

/**
 * A parsed line of `events.jsonl` as a record.
 *
 * @throws WeftError `corrupt_data` for anything but a record of a kind this version knows.
 */
export function parseRunRecord(value: unknown): RunRecord {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
  if (typeof kind === 'string' && Object.hasOwn(KINDS, kind)) return withHint(value as RunRecord);
  throw new WeftError('corrupt_data', `a line of a run's log has the unknown kind ${JSON.stringify(kind)}`, {
    hint: 'use the version of Weft that wrote it, or a newer one',
  });
}

/** Logs of version 0.1 call the hint of a failure `cure`. */
function withHint(record: RunRecord): RunRecord {
  if (!('failure' in record) || !('cure' in record.failure)) return record;
  const { cure, ...failure } = record.failure;
  return { ...record, failure: { ...failure, hint: typeof cure === 'string' ? cure : null } };
}

/** The records of a log from which `Ledger.fold` of `@weft/mixture` computes the consumed sequences. */
export function* ledgerRecords(records: Iterable<RunRecord>): Generator<LedgerRecord> {
  for (const record of records) if (record.kind === 'committed' || record.kind === 'resumed') yield record;
}
