import { WeftError } from '@weft/common';
import type { GridOutline, GridPoint } from './grid-plan.js';
import type { SweepOutline, SweepPoint } from './sweep-plan.js';

/** What the coordinator keeps with the job of a sweep or grid: enough to drive and to summarise it. JSON-serialisable. */
export type AnyRecord = SweepRecord | GridRecord;

/** Of a learning-rate sweep. */
export interface SweepRecord extends SweepOutline {
  readonly formatVersion: 2;
  /** In the order of the plan. */
  readonly runs: readonly (SweepPoint & RecordedRun)[];
}

/** Of a grid of settings. */
export interface GridRecord extends GridOutline {
  readonly formatVersion: 2;
  /** In the order of the plan. */
  readonly runs: readonly (GridPoint & RecordedRun)[];
}

/** The run that is used for a point. */
export interface RecordedRun {
  readonly key: string;
  /** The run of an earlier sweep that is used for this point; null for a child of this sweep. */
  readonly reusedRunId: string | null;
}

/** The id of a child: that of its sweep with its number among the children. @param index from 0 */
export function childRunId(sweepId: string, index: number, count: number): string {
  return `${sweepId}-${`${index + 1}`.padStart(`${count}`.length, '0')}`;
}

/** Whether a record is that of a grid. */
export function isGridRecord(record: AnyRecord): record is GridRecord {
  return 'grid' in record;
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

/** The record of a grid, some of whose runs were trained before. @param reused run ids by key */
export function gridRecord(
  { id, grid, runs, measures, details }: GridOutline,
  reused: ReadonlyMap<string, string>,
): GridRecord {
  return {
    formatVersion: 2,
    id,
    grid,
    runs: runs.map(({ cell, first, seed, key, after }) => {
      return { cell, first, seed, key, after, reusedRunId: reused.get(key) ?? null };
    }),
    measures,
    details,
  };
}

/**
 * Reads the record of a sweep or grid.
 *
 * @throws WeftError `failed_precondition` for a sweep of an older version, `corrupt_data` for one that neither `weft lr
 * sweep` nor `weft ablate` launched.
 */
export function parseSweepRecord(sweepId: string, json: string): AnyRecord {
  const value: unknown = parse(json);
  if (isSweep(value) || isGrid(value)) return value;
  if (hasRuns(value))
    throw new WeftError('failed_precondition', `the sweep ${sweepId} was launched by an older version of Weft`, {
      hint: `cancel it with \`weft queue cancel ${sweepId}\` and launch it again: runs that have finished are not repeated`,
    });
  throw new WeftError('corrupt_data', `the sweep ${sweepId} was launched neither by weft lr sweep nor by weft ablate`);
}

/** The runs of a learning-rate sweep with this name, also of an older version; undefined for other sweeps. */
export function runsOfSweep(name: string, json: string): readonly RecordedRun[] | undefined {
  const value: unknown = parse(json);
  if (!hasRuns(value)) return undefined;
  const recordedName = isSweep(value) ? value.sweep.name : value.name;
  return recordedName === name ? value.runs : undefined;
}

/** The runs of any grid: a run that one grid has trained is that of every other with the same key. */
export function runsOfGrid(json: string): readonly RecordedRun[] | undefined {
  const value: unknown = parse(json);
  return isGrid(value) ? value.runs : undefined;
}

function parse(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}

function isSweep(value: unknown): value is SweepRecord {
  return hasRuns(value) && value.formatVersion === 2 && 'sweep' in value && 'predictions' in value;
}

function isGrid(value: unknown): value is GridRecord {
  return hasRuns(value) && value.formatVersion === 2 && 'grid' in value && 'measures' in value;
}

interface AnyVersion {
  readonly formatVersion: number;
  /** Of the first format. */
  readonly name?: unknown;
  readonly runs: readonly RecordedRun[];
}

function hasRuns(value: unknown): value is AnyVersion {
  if (typeof value !== 'object' || value === null) return false;
  const { formatVersion, runs }: { formatVersion?: unknown; runs?: unknown } = value;
  const isRun = (run: unknown) => typeof run === 'object' && run !== null && 'key' in run && 'reusedRunId' in run;
  return typeof formatVersion === 'number' && Array.isArray(runs) && runs.every(isRun);
}
