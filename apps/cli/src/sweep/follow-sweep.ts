import type { RunsClient } from '@weft/client';
import { allMetrics } from '@weft/client';
import { systemClock, WeftError } from '@weft/common';
import type { RunView } from '@weft/contracts';
import { whyHopeless } from '@weft/scaling';
import type { LaunchedSweep } from './launch-sweep.js';
import type { PlannedRun, SweepPlan } from './plan.js';
import { isSettled, type SweepRun, sweepRun } from './run-result.js';
import type { SweepDisplay } from './sweep-display.js';

const POLL_MS = 500;
/** A coordinator that restarts replays its logs and is back long before this. */
const PATIENCE_MS = 60_000;

export interface FollowSweepOptions {
  readonly plan: SweepPlan;
  readonly launched: LaunchedSweep;
  readonly runs: RunsClient;
  readonly display: SweepDisplay;
  readonly signal: AbortSignal;
}

/**
 * Watches the runs of a sweep until all have ended, and gives up the hopeless ones.
 *
 * @returns the runs in the order of the plan
 * @throws `cancelled` when the signal aborts, `unavailable` when the coordinator stays away.
 */
export async function followSweep(options: FollowSweepOptions): Promise<SweepRun[]> {
  const { display, signal } = options;
  const told = new Set<string>();
  let runs: readonly SweepRun[] = [];
  for (;;) {
    const views = await patiently(() => options.launched.view(), signal);
    runs = await readRuns(options, views, runs);
    for (const run of runs) {
      if (!isSettled(run) || told.has(run.view.runId)) continue;
      told.add(run.view.runId);
      display.ended(run, runs);
    }
    display.refresh(runs);
    if (runs.every(isSettled)) return [...runs];
    await giveUpHopeless(options, runs);
    await systemClock.sleep(POLL_MS, signal);
  }
}

async function readRuns(
  { plan, runs: client }: FollowSweepOptions,
  views: readonly RunView[],
  before: readonly SweepRun[],
): Promise<SweepRun[]> {
  return Promise.all(
    views.map(async (view, i) => {
      const known = before[i];
      if (known !== undefined && isSettled(known)) return known;
      const planned = plan.runs[i];
      if (planned === undefined) throw new WeftError('internal', `the sweep ${plan.id} has more runs than its plan`);
      return sweepRun(planned, view, await metricsOf(view, client), plan.sweep);
    }),
  );
}

async function metricsOf(view: RunView, client: RunsClient) {
  return view.step === 0 ? [] : allMetrics(view, client);
}

/** A run is compared with the others of its scale and seed. */
async function giveUpHopeless({ plan, runs: client, display }: FollowSweepOptions, runs: readonly SweepRun[]) {
  const { earlyStop } = plan.sweep;
  if (earlyStop === null) return;
  for (const { planned, view, losses } of runs) {
    if (view.status !== 'running') continue;
    const siblings = runs.filter((other) => isSibling(other.planned, planned)).map((other) => other.losses);
    const reason = whyHopeless(losses, view.steps, siblings, earlyStop);
    if (reason === undefined) continue;
    display.event(`${planned.scale} at ${planned.learningRate} is given up: ${reason}.`);
    await client.stop(view.runId, { saveCheckpoint: false }).catch((thrown: unknown) => {
      // It ended in the meantime: then there is nothing to give up.
      if (!WeftError.is(thrown, 'failed_precondition')) throw thrown;
    });
  }
}

function isSibling(other: PlannedRun, run: PlannedRun): boolean {
  return other !== run && other.scale === run.scale && other.seed === run.seed;
}

async function patiently<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const endMs = systemClock.monotonicMs() + PATIENCE_MS;
  for (;;) {
    try {
      return await ask();
    } catch (thrown) {
      if (!WeftError.is(thrown, 'unavailable') || systemClock.monotonicMs() > endMs) throw thrown;
      await systemClock.sleep(POLL_MS, signal);
    }
  }
}
