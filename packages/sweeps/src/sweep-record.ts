import { WeftError } from '@weft/common';
import type { SweepOutline, SweepPoint } from './sweep-plan.js';

/** What the coordinator keeps with a sweep's job: enough to drive and to summarise it. JSON-serialisable. */
export interface SweepRecord extends SweepOutline {
  readonly formatVersion: 2;
  /** In the order of the plan. */
  readonly runs: readonly RecordedRun[];
}

/** A point of a sweep, and the run that is used for it. */
export interface RecordedRun extends SweepPoint {
  /** The run of an earlier sweep that is used for this point; null for a child of this sweep. */
  readonly reusedRunId: string | null;
}

/** The record of a plan, some of whose runs were trained by earlier sweeps. @param reused run ids by key */
export function sweepRecord(
  { id, sweep, runs, predictions }: SweepOutline,
  reused: ReadonlyMap<string, string>,
): SweepRecord {
  return {
    formatVersion: 2,
    id,
    sweep,
    runs: runs.map(({ scale, params, tokens, learningRate, seed, key }) => {
      return { scale, params, tokens, learningRate, seed, key, reusedRunId: reused.get(key) ?? null };
    }),
    predictions,
  };
}

/**
 * Reads the record of a sweep.
 *
 * @throws WeftError `failed_precondition` for a sweep of an older version, `corrupt_data` for one that `weft lr sweep` did
 * not launch.
 */
export function parseSweepRecord(sweepId: string, json: string): SweepRecord {
  const value: unknown = parse(json);
  if (isRecord(value)) return value;
  if (hasRuns(value))
    throw new WeftError('failed_precondition', `the sweep ${sweepId} was launched by an older version of Weft`, {
      hint: `cancel it with \`weft queue cancel ${sweepId}\` and launch it again: runs that have finished are not repeated`,
    });
  throw new WeftError('corrupt_data', `the sweep ${sweepId} was not launched by weft lr sweep`);
}

/** The runs of a sweep with this name, also of an older version; undefined for other sweeps. */
export function recordedRuns(
  name: string,
  json: string,
): readonly Pick<RecordedRun, 'key' | 'reusedRunId'>[] | undefined {
  const value: unknown = parse(json);
  if (!hasRuns(value)) return undefined;
  const recordedName = isRecord(value) ? value.sweep.name : value.name;
  return recordedName === name ? value.runs : undefined;
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isRecord(value: unknown): value is SweepRecord {
  return hasRuns(value) && value.formatVersion === 2 && 'sweep' in value && 'predictions' in value;
}

interface AnyRecord {
  readonly formatVersion: number;
  /** Of the first format. */
  readonly name?: unknown;
  readonly runs: readonly Pick<RecordedRun, 'key' | 'reusedRunId'>[];
}

function hasRuns(value: unknown): value is AnyRecord {
  if (typeof value !== 'object' || value === null) return false;
  const { formatVersion, runs }: { formatVersion?: unknown; runs?: unknown } = value;
  const isRun = (run: unknown) => typeof run === 'object' && run !== null && 'key' in run && 'reusedRunId' in run;
  return typeof formatVersion === 'number' && Array.isArray(runs) && runs.every(isRun);
}
