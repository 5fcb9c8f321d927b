import { WeftError } from '@weft/common';
import type { SweepPlan } from './plan.js';

/** What the coordinator keeps of a sweep beside its runs: how to find them again. */
export interface SweepRecord {
  readonly formatVersion: 1;
  readonly name: string;
  readonly metric: string;
  /** In the order of the plan. */
  readonly runs: readonly RecordedRun[];
}

export interface RecordedRun {
  readonly key: string;
  readonly scale: string;
  readonly learningRate: number;
  readonly seed: number;
  /** The run of an earlier sweep that is taken for this one; null for a child of this sweep. */
  readonly reusedRunId: string | null;
}

/** The record of a plan, some of whose runs were made by earlier sweeps. */
export function recordOf({ sweep, runs }: SweepPlan, reused: ReadonlyMap<string, string>): SweepRecord {
  return {
    formatVersion: 1,
    name: sweep.name,
    metric: sweep.metric,
    runs: runs.map(({ key, scale, learningRate, seed }) => ({
      ...{ key, scale, learningRate, seed },
      reusedRunId: reused.get(key) ?? null,
    })),
  };
}

/** @throws WeftError `corrupt_data` for what this command did not write. */
export function readRecord(sweepId: string, json: string): SweepRecord {
  const value: unknown = tryParse(json);
  if (!isRecord(value)) throw new WeftError('corrupt_data', `the sweep ${sweepId} was not launched by weft lr sweep`);
  return value;
}

/** As `readRecord`; undefined for another's sweep. */
export function tryReadRecord(json: string): SweepRecord | undefined {
  const value: unknown = tryParse(json);
  return isRecord(value) ? value : undefined;
}

function tryParse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is SweepRecord {
  if (typeof value !== 'object' || value === null) return false;
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const isRun = (run: unknown) => typeof run === 'object' && run !== null && 'key' in run && 'reusedRunId' in run;
  return (
    fields.formatVersion === 1 &&
    typeof fields.name === 'string' &&
    Array.isArray(fields.runs) &&
    fields.runs.every(isRun)
  );
}
