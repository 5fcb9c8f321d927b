import { type RunsClient, readAllMetrics, type SweepsClient } from '@weft/client';
import { retry, sleep, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { MetricsRow, RunView } from '@weft/contracts';
import {
  type AnyRecord,
  childRunId,
  type FollowedRun,
  isSettled,
  parseSweepRecord,
  type RecordedRun,
  readRuns,
} from '@weft/sweeps';

/** A learning-rate sweep or a grid, to be launched. */
export interface LaunchedPlan<Run extends FollowedRun> {
  readonly id: string;
  readonly runs: readonly { readonly key: string }[];
  /** The record that the coordinator keeps. @param reused run ids by key */
  readonly record: (reused: ReadonlyMap<string, string>) => AnyRecord;
  /** The runs of an earlier sweep, of which those with keys of this one are used again; undefined to use none. */
  readonly earlierRuns: (sweepJson: string) => readonly RecordedRun[] | undefined;
  /** Whether an earlier run is used again that has ended so. */
  readonly isUsable: (run: RunView) => boolean;
  /** The configuration with which the run of an index is launched. @param runIdOf the run of every key */
  readonly configOf: (index: number, runIdOf: (key: string) => string) => RunConfig;
  /** A run from its metrics. */
  readonly read: (index: number, view: RunView, rows: readonly MetricsRow[]) => Run;
  /** Whether a run waits for one that has ended without finishing. */
  readonly isStuck: (run: Run, runs: readonly Run[]) => boolean;
}

/** Options of `launchSweep`. */
export interface LaunchSweepOptions {
  readonly plan: Omit<LaunchedPlan<FollowedRun>, 'read' | 'isStuck'>;
  readonly sweeps: SweepsClient;
  readonly runs: RunsClient;
}

/** A sweep that the coordinator drives, and its runs. */
export interface LaunchedSweep {
  /** How many runs are used from earlier sweeps. */
  readonly reused: number;
  readonly isReused: (runId: string) => boolean;
  /** The current runs, in the order of the plan. */
  readonly view: () => Promise<RunView[]>;
  /**
   * The result with which the coordinator closed the sweep: undefined before that, and empty when all runs are reused, so
   * nothing was launched.
   *
   * @throws WeftError `failed_precondition` when the sweep was cancelled.
   */
  readonly result: () => Promise<string | undefined>;
}

/**
 * Launches the runs of a plan, except those that an earlier sweep has trained. A plan that was launched before is found
 * again with all its runs.
 */
export async function launchSweep({ plan, sweeps, runs }: LaunchSweepOptions): Promise<LaunchedSweep> {
  const record = await findOrLaunch(plan, sweeps);
  const recorded: readonly RecordedRun[] = record.runs;
  const reused = new Set(recorded.flatMap(({ reusedRunId }) => reusedRunId ?? []));
  const hasChildren = reused.size < recorded.length;
  return {
    reused: reused.size,
    isReused: (runId) => reused.has(runId),
    view: async () => {
      const children = hasChildren ? [...(await sweeps.get(plan.id)).children] : [];
      const views: RunView[] = [];
      for (const { reusedRunId } of recorded) {
        const view = reusedRunId === null ? children.shift() : await runs.get(reusedRunId);
        if (view !== undefined) views.push(view);
      }
      return views;
    },
    result: async () => {
      if (!hasChildren) return '';
      const { state, resultJson } = await sweeps.get(plan.id);
      if (state === 'cancelled') throw new WeftError('failed_precondition', `the sweep ${plan.id} was cancelled`);
      return state === 'finished' ? resultJson : undefined;
    },
  };
}

async function findOrLaunch(plan: LaunchSweepOptions['plan'], sweeps: SweepsClient): Promise<AnyRecord> {
  const found = (await sweeps.list()).find(({ sweepId }) => sweepId === plan.id);
  if (found !== undefined) return parseSweepRecord(plan.id, (await sweeps.get(plan.id)).sweepJson);
  const earlier = await findEarlierRuns(plan, sweeps);
  const record = plan.record(earlier);
  const missing = plan.runs.flatMap(({ key }, index) => (earlier.has(key) ? [] : [{ key, index }]));
  if (missing.length === 0) return record;
  const runIds = new Map(earlier);
  missing.forEach(({ key }, child) => {
    // Of two equal runs others begin from the first.
    if (!runIds.has(key)) runIds.set(key, childRunId(plan.id, child, missing.length));
  });
  const runIdOf = (key: string) => {
    const runId = runIds.get(key);
    if (runId === undefined) throw new WeftError('internal', `the sweep ${plan.id} has no run of the key ${key}`);
    return runId;
  };
  const configs = missing.map(({ index }) => JSON.stringify(plan.configOf(index, runIdOf)));
  return parseSweepRecord(plan.id, (await sweeps.launch(plan.id, JSON.stringify(record), configs)).sweepJson);
}

/** The ended runs of earlier sweeps, by their keys. */
async function findEarlierRuns(
  { runs, earlierRuns, isUsable }: LaunchSweepOptions['plan'],
  sweeps: SweepsClient,
): Promise<Map<string, string>> {
  const wanted = new Set(runs.map(({ key }) => key));
  const earlier = new Map<string, string>();
  for (const { sweepId, sweepJson } of await sweeps.list()) {
    const recorded = earlierRuns(sweepJson);
    if (recorded === undefined) continue;
    const children = [...(await sweeps.get(sweepId)).children];
    for (const { key, reusedRunId } of recorded) {
      const child = reusedRunId === null ? children.shift() : undefined;
      if (child !== undefined && wanted.has(key) && isUsable(child)) earlier.set(key, child.runId);
    }
  }
  return earlier;
}

const POLL_MS = 500;
/** Far longer than a coordinator needs to restart and to replay its logs. */
const RECONNECT_TIMEOUT_MS = 60_000;
const RETRYABLE = ['unavailable', 'cancelled', 'deadline_exceeded'] as const;

/** Options of `followSweep`. */
export interface FollowSweepOptions<Run extends FollowedRun> {
  readonly plan: Pick<LaunchedPlan<Run>, 'read' | 'isStuck'>;
  readonly launched: LaunchedSweep;
  readonly runs: RunsClient;
  /** Called once for every run that has ended, and after every look at the runs. */
  readonly onEnded: (run: Run, runs: readonly Run[]) => void;
  readonly onProgress: (runs: readonly Run[]) => void;
  readonly signal: AbortSignal;
}

/**
 * Shows the runs of a sweep until all have ended, or those that have not wait for one that failed. The coordinator drives
 * the sweep whether or not anybody follows it.
 *
 * @returns the runs in the order of the plan
 * @throws `cancelled` when the signal aborts, `unavailable` when the coordinator does not come back.
 */
export async function followSweep<Run extends FollowedRun>(options: FollowSweepOptions<Run>): Promise<readonly Run[]> {
  const { plan, launched, runs: client, onEnded, onProgress, signal } = options;
  const shown = new Set<string>();
  let runs: readonly Run[] = [];
  for (;;) {
    runs = await retryUnavailable(
      async () => readRuns(plan, await launched.view(), runs, { metrics: (view) => readAllMetrics(view, client) }),
      signal,
    );
    for (const run of runs) {
      if (!isSettled(run) || shown.has(run.view.runId)) continue;
      shown.add(run.view.runId);
      onEnded(run, runs);
    }
    onProgress(runs);
    if (runs.every((run) => isSettled(run) || plan.isStuck(run, runs))) return runs;
    await sleep(POLL_MS, signal);
  }
}

/** Waits until the coordinator has closed a sweep whose runs have all ended. @returns as `LaunchedSweep.result` */
export async function waitForResult({ result }: LaunchedSweep, signal: AbortSignal): Promise<string> {
  for (;;) {
    const found = await retryUnavailable(result, signal);
    if (found !== undefined) return found;
    await sleep(POLL_MS, signal);
  }
}

/** A coordinator that pauses, dies or restarts ends calls as `unavailable`, `cancelled` or past their deadline. */
function retryUnavailable<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const isRetryable = (error: unknown) => !signal.aborted && RETRYABLE.some((code) => WeftError.is(error, code));
  return retry(ask, { firstDelayMs: POLL_MS, timeoutMs: RECONNECT_TIMEOUT_MS, signal, isRetryable });
}
