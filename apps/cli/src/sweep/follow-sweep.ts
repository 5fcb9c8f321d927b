import { allMetrics, type RunsClient } from '@weft/client';
import { retry, sleep, WeftError } from '@weft/common';
import { isSettled, readRuns, type SweepPlan, type SweepRun } from '@weft/sweeps';
import type { LaunchedSweep } from './launch-sweep.js';
import type { SweepDisplay } from './sweep-display.js';

const POLL_MS = 500;
/** A coordinator that restarts replays its logs and is back long before this. */
const RECONNECT_TIMEOUT_MS = 60_000;

export interface FollowSweepOptions {
  readonly plan: SweepPlan;
  readonly launched: LaunchedSweep;
  readonly runs: RunsClient;
  readonly display: SweepDisplay;
  readonly signal: AbortSignal;
}

/**
 * Shows the runs of a sweep until all have ended. The coordinator drives it, whether somebody watches or not.
 *
 * @returns the runs in the order of the plan
 * @throws `cancelled` when the signal aborts, `unavailable` when the coordinator stays away.
 */
export async function followSweep({ plan, launched, runs: client, display, signal }: FollowSweepOptions) {
  const shown = new Set<string>();
  const metrics = (view: SweepRun['view']) => allMetrics(view, client);
  let runs: readonly SweepRun[] = [];
  for (;;) {
    const views = await untilAvailable(() => launched.view(), signal);
    runs = await readRuns(plan, views, runs, { metrics });
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

/** Waits until the coordinator has closed a sweep whose runs have all ended. @returns its result; empty when it has none */
export async function untilFinished({ close }: LaunchedSweep, signal: AbortSignal): Promise<string> {
  for (;;) {
    const result = await untilAvailable(() => close(), signal);
    if (result !== undefined) return result;
    await sleep(POLL_MS, signal);
  }
}

function untilAvailable<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const isRetryable = (error: unknown) => WeftError.is(error, 'unavailable');
  return retry(ask, { firstDelayMs: POLL_MS, timeoutMs: RECONNECT_TIMEOUT_MS, signal, isRetryable });
}
