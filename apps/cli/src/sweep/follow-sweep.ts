import { type RunsClient, readAllMetrics, type SweepsClient } from '@weft/client';
import { retry, sleep, WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { RunView } from '@weft/contracts';
import {
  isSettled,
  parseSweepRecord,
  readRuns,
  recordedRuns,
  type SweepPlan,
  type SweepRecord,
  type SweepRun,
  sweepRecord,
} from '@weft/sweeps';
import type { SweepDisplay } from './sweep-display.js';

/** Options of `launchSweep`. */
export interface LaunchSweepOptions {
  readonly plan: SweepPlan;
  readonly sweeps: SweepsClient;
  readonly runs: RunsClient;
  /** Turns a configuration into one for the coordinator's host. */
  readonly prepare: (config: RunConfig) => RunConfig;
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
 * Launches the runs of a plan, except those that an earlier sweep of this name has trained. A plan that was launched before
 * is found again with all its runs.
 */
export async function launchSweep({ plan, sweeps, runs, prepare }: LaunchSweepOptions): Promise<LaunchedSweep> {
  const record = await findOrLaunch(plan, sweeps, prepare);
  const reused = new Set(record.runs.flatMap(({ reusedRunId }) => reusedRunId ?? []));
  const hasChildren = reused.size < record.runs.length;
  return {
    reused: reused.size,
    isReused: (runId) => reused.has(runId),
    view: async () => {
      const children = hasChildren ? [...(await sweeps.get(plan.id)).children] : [];
      const views: RunView[] = [];
      for (const { reusedRunId } of record.runs) {
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

async function findOrLaunch(
  plan: SweepPlan,
  sweeps: SweepsClient,
  prepare: LaunchSweepOptions['prepare'],
): Promise<SweepRecord> {
  const found = (await sweeps.list()).find(({ sweepId }) => sweepId === plan.id);
  if (found !== undefined) return parseSweepRecord(plan.id, (await sweeps.get(plan.id)).sweepJson);
  const earlier = await findEarlierRuns(plan, sweeps);
  const missing = plan.runs.filter(({ key }) => !earlier.has(key));
  const record = sweepRecord(plan, earlier);
  if (missing.length === 0) return record;
  const configs = missing.map(({ config }) => JSON.stringify(prepare(config)));
  return parseSweepRecord(plan.id, (await sweeps.launch(plan.id, JSON.stringify(record), configs)).sweepJson);
}

/** The ended runs of earlier sweeps of this name, by their keys; failed runs are left out. */
async function findEarlierRuns({ sweep }: SweepPlan, sweeps: SweepsClient): Promise<Map<string, string>> {
  const earlier = new Map<string, string>();
  for (const { sweepId, sweepJson } of await sweeps.list()) {
    const runs = recordedRuns(sweep.name, sweepJson);
    if (runs === undefined) continue;
    const children = [...(await sweeps.get(sweepId)).children];
    for (const { key, reusedRunId } of runs) {
      const child = reusedRunId === null ? children.shift() : undefined;
      if (child !== undefined && (child.status === 'finished' || child.status === 'stopped'))
        earlier.set(key, child.runId);
    }
  }
  return earlier;
}

const POLL_MS = 500;
/** Far longer than a coordinator needs to restart and to replay its logs. */
const RECONNECT_TIMEOUT_MS = 60_000;

/** Options of `followSweep`. */
export interface FollowSweepOptions {
  readonly plan: SweepPlan;
  readonly launched: LaunchedSweep;
  readonly runs: RunsClient;
  readonly display: SweepDisplay;
  readonly signal: AbortSignal;
}

/**
 * Shows the runs of a sweep until all have ended. The coordinator drives the sweep whether or not anybody follows it.
 *
 * @returns the runs in the order of the plan
 * @throws `cancelled` when the signal aborts, `unavailable` when the coordinator does not come back.
 */
export async function followSweep(options: FollowSweepOptions): Promise<readonly SweepRun[]> {
  const { plan, launched, runs: client, display, signal } = options;
  const shown = new Set<string>();
  let runs: readonly SweepRun[] = [];
  for (;;) {
    const views = await retryUnavailable(() => launched.view(), signal);
    runs = await readRuns(plan, views, runs, { metrics: (view) => readAllMetrics(view, client) });
    for (const run of runs) {
      if (!isSettled(run) || shown.has(run.view.runId)) continue;
      shown.add(run.view.runId);
      if (run.givenUp?.startsWith('given up') && !launched.isReused(run.view.runId))
        display.event(`${run.planned.scale} at ${run.planned.learningRate} is ${run.givenUp}.`);
      display.ended(run, runs);
    }
    display.refresh(runs);
    if (runs.every(isSettled)) return runs;
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

function retryUnavailable<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const isRetryable = (error: unknown) => WeftError.is(error, 'unavailable');
  return retry(ask, { firstDelayMs: POLL_MS, timeoutMs: RECONNECT_TIMEOUT_MS, signal, isRetryable });
}
