import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { LedgerRecord } from '@weft/mixture';
import type { Resumed, RunFailure, RunRecord } from './records.js';

/** Where a run stands. `finished`, `stopped` and `failed` are ends; the last two can be resumed. */
export type RunPhase = 'queued' | 'running' | 'stopping' | 'finished' | 'stopped' | 'failed';

/** The part of a run that its log holds: all that a restarted coordinator knows. */
export interface RunState {
  readonly runId: string;
  /** `workers` and `steps` as the last resume left them. */
  readonly config: RunConfig;
  readonly phase: RunPhase;
  /** Why it is in this phase, one sentence without its full stop. */
  readonly reason: string;
  /** The last committed step; 0 before the first. */
  readonly step: number;
  /** The generation begun last; 0 before the first. It never goes back. */
  readonly generation: number;
  /** Step of the newest checkpoint; 0 when there is none. */
  readonly checkpointStep: number;
  /** Steps refused in a row, up to now, because their gradients were not finite. */
  readonly skippedInARow: number;
  readonly failure: RunFailure | undefined;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Whether nothing more happens in this phase until somebody asks. */
export function isEnded(phase: RunPhase): boolean {
  return phase === 'finished' || phase === 'stopped' || phase === 'failed';
}

/**
 * The state after one more record.
 *
 * @throws `corrupt_data` when the record cannot follow: a log starts with `launched`, and steps have no gap.
 */
export function evolve(state: RunState | undefined, record: RunRecord): RunState {
  const updatedAtMs = Date.parse(record.time);
  if (state === undefined) {
    if (record.kind !== 'launched')
      throw new WeftError('corrupt_data', `the log of a run begins with "${record.kind}" instead of "launched"`);
    return {
      runId: record.runId,
      config: record.config,
      phase: 'queued',
      reason: 'it was launched',
      step: 0,
      generation: 0,
      checkpointStep: 0,
      skippedInARow: 0,
      failure: undefined,
      createdAtMs: updatedAtMs,
      updatedAtMs,
    };
  }
  return { ...state, ...change(state, record), updatedAtMs };
}

function change(state: RunState, record: RunRecord): Partial<RunState> {
  switch (record.kind) {
    case 'launched':
      throw new WeftError('corrupt_data', `the log of run ${state.runId} launches it twice`);
    case 'assigned':
      return { generation: record.generation, phase: state.phase === 'stopping' ? 'stopping' : 'running' };
    case 'committed': {
      const { step, applied } = record.entry;
      if (step !== state.step + 1)
        throw new WeftError(
          'corrupt_data',
          `the log of run ${state.runId} commits step ${step} after step ${state.step}`,
        );
      return { step, skippedInARow: applied ? 0 : state.skippedInARow + 1 };
    }
    case 'checkpointWritten':
      return { checkpointStep: record.step };
    case 'workerLost':
    case 'ringBroke':
      return {};
    case 'requeued':
      return { phase: 'queued', reason: record.reason };
    case 'resumed':
      return resumed(state, record);
    case 'stopRequested':
      return { phase: 'stopping', reason: 'it was asked to stop' };
    case 'stopped':
      return { phase: 'stopped', reason: record.reason };
    case 'finished':
      return { phase: 'finished', reason: `all ${record.step} steps are trained and their checkpoint is written` };
    case 'failed':
      return { phase: 'failed', reason: record.failure.message, failure: record.failure };
  }
}

function resumed(state: RunState, record: Resumed): Partial<RunState> {
  if (record.fromStep > state.step)
    throw new WeftError(
      'corrupt_data',
      `the log of run ${state.runId} resumes from step ${record.fromStep}, but ends at step ${state.step}`,
    );
  return {
    phase: 'queued',
    reason: record.reason,
    step: record.fromStep,
    checkpointStep: record.fromStep,
    skippedInARow: 0,
    failure: undefined,
    config: { ...state.config, workers: record.workers, steps: record.steps },
  };
}

/**
 * The state a log describes.
 *
 * @throws `corrupt_data` when the log is empty or its lines do not follow one another.
 */
export function replay(records: Iterable<RunRecord>): RunState {
  let state: RunState | undefined;
  for (const record of records) state = evolve(state, record);
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
  resumed: true,
  stopRequested: true,
  stopped: true,
  finished: true,
  failed: true,
};

/**
 * A parsed line of `events.jsonl` as a record.
 *
 * @throws `corrupt_data` for anything but a record of a kind this version knows.
 */
export function asRunRecord(value: unknown): RunRecord {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
  if (typeof kind === 'string' && Object.hasOwn(KINDS, kind)) return value as RunRecord;
  throw new WeftError('corrupt_data', `a line of a run's log has the unknown kind ${JSON.stringify(kind)}`, {
    cure: 'use the version of Weft that wrote it, or a newer one',
  });
}

/** The lines of a run's log that `Ledger.fold` of `@weft/mixture` wants. */
export function* ledgerRecords(records: Iterable<RunRecord>): Generator<LedgerRecord> {
  for (const record of records) if (record.kind === 'committed' || record.kind === 'resumed') yield record;
}
