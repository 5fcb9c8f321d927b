import type { RunConfig } from '@weft/config';
import type { RecentSteps } from './divergence.js';
import type { Assigned, Committed, RunRecord } from './records.js';
import { applyRecord, type KnownCheckpoint, type RunState } from './run-state.js';

/** A step as it was once committed, and all that led to it. */
export interface StepHistory {
  readonly step: Committed;
  /** The run as it was configured then. */
  readonly config: RunConfig;
  /** The steps before it, from the first, on the way to it. */
  readonly before: readonly Committed[];
  /** The checkpoints of these steps that were kept then, newest first. */
  readonly checkpoints: readonly KnownCheckpoint[];
  /** By which it was told whether it is a spike. */
  readonly recent: RecentSteps;
  /** Who trained it. */
  readonly workers: Assigned['workers'];
  /** Whether the run went back before it later. */
  readonly wasRolledBack: boolean;
}

/**
 * The history of a step. A step that was trained several times, because the run went back, may have been another each time: it
 * is the last of those that were spikes, or else the last of all.
 *
 * @returns undefined when it was never committed
 */
export function stepHistory(records: Iterable<RunRecord>, step: number): StepHistory | undefined {
  let state: RunState | undefined;
  let workers: Assigned['workers'] = [];
  let found: StepHistory | undefined;
  const before: Committed[] = [];
  for (const record of records) {
    if (record.kind === 'assigned') workers = record.workers;
    if (record.kind === 'committed' && record.entry.step === step && state !== undefined) {
      const { config, checkpoints, recent } = state;
      const older = checkpoints.filter((checkpoint) => checkpoint.step < step).toReversed();
      const history = {
        step: record,
        config,
        before: [...before],
        checkpoints: older,
        recent,
        workers,
        wasRolledBack: false,
      };
      if (record.spike !== undefined || found?.step.spike === undefined) found = history;
    }
    state = applyRecord(state, record);
    if (record.kind === 'committed') before.push(record);
    while (before.length > state.step) before.pop();
    if (found !== undefined && state.step < step) found = { ...found, wasRolledBack: true };
  }
  return found;
}
