import { systemClock, WeftError } from '@weft/common';
import { hasEnded, type MetricsRow, type RunView } from '@weft/contracts';
import { type ClusterLocation, findSuccessor } from './find-coordinator.js';
import { RunProgress } from './run-progress.js';
import type { RunsClient, RunUpdate } from './runs-client.js';

/** Far longer than a coordinator needs to restart and to replay its logs. */
const RECONNECT_TIMEOUT_MS = 60_000;
const RETRY_MS = 250;
/** Past steps to ask for, to draw the loss and average the speed. */
const HISTORY_STEPS = 5000;

/** Receives the changes of a run that is followed. */
export interface RunObserver {
  /** A sentence worth a line of its own, such as "worker lost, generation 2". */
  event(text: string): void;
  /** A step was added to the progress. */
  step(progress: RunProgress, metrics: MetricsRow): void;
  /** The run changed in another way. */
  refresh(progress: RunProgress): void;
}

/** Options of `followRun`. */
export interface FollowOptions {
  readonly client: RunsClient;
  /** Where another coordinator may take over. */
  readonly location: ClusterLocation;
  readonly runId: string;
  readonly observer: RunObserver;
  /** Leaves the run when it aborts. */
  readonly signal: AbortSignal;
}

/**
 * Follows a run until it ends, or until the signal aborts, also while the coordinator restarts or another takes over.
 *
 * @throws WeftError `unavailable` when no coordinator comes back.
 */
export async function followRun(options: FollowOptions): Promise<RunProgress> {
  const { runId, observer, signal, location } = options;
  let { client } = options;
  const progress = new RunProgress(await client.get(runId));
  observer.refresh(progress);
  const past = progress.run.step;
  let afterStep = Math.max(0, past - HISTORY_STEPS);
  let lostAtMs: number | undefined;
  try {
    while (!signal.aborted) {
      try {
        for await (const news of client.watch(runId, afterStep, signal)) {
          if (lostAtMs !== undefined) observer.event('The coordinator is back.');
          lostAtMs = undefined;
          applyUpdate(news, progress, observer, past);
          afterStep = progress.metrics.at(-1)?.step ?? afterStep;
        }
        if (hasEnded(progress.run) || signal.aborted) break;
        throw new WeftError('unavailable', `the coordinator at ${client.address} ended the report of ${runId}`);
      } catch (thrown) {
        if (signal.aborted) break;
        if (!WeftError.is(thrown, 'unavailable')) throw thrown;
        if (lostAtMs === undefined) observer.event(`${thrown.message}; trying again for a minute …`);
        lostAtMs ??= systemClock.monotonicMs();
        if (systemClock.monotonicMs() - lostAtMs > RECONNECT_TIMEOUT_MS)
          throw coordinatorLost(thrown, client.address, runId);
        await systemClock.sleep(RETRY_MS, signal).catch(() => {});
        const successor = await findSuccessor(location, client.address);
        if (successor === undefined) continue;
        if (client !== options.client) client.close();
        client = successor;
      }
    }
  } finally {
    if (client !== options.client) client.close();
  }
  return progress;
}

/** Adds one update. Steps from before the command began fill the charts, but are not shown as new. */
function applyUpdate(news: RunUpdate, progress: RunProgress, observer: RunObserver, past: number): void {
  if (news.kind === 'notice') {
    observer.event(`${news.sentence}.`);
    return;
  }
  if (news.kind === 'run') {
    const events = progress.updateRun(news.run);
    for (const event of events) observer.event(event);
    observer.refresh(progress);
    return;
  }
  const events = progress.addStep(news.metrics);
  if (news.metrics.step <= past) return;
  for (const event of events) observer.event(event);
  observer.step(progress, news.metrics);
}

function coordinatorLost(cause: WeftError, address: string, runId: string): WeftError {
  return new WeftError(
    'unavailable',
    `the coordinator at ${address} has been away for ${RECONNECT_TIMEOUT_MS / 1000} s`,
    {
      hint: `when it is back, weft watch ${runId} shows the run again; if it does not come back, weft resume ${runId} goes on from the newest checkpoint`,
      cause,
    },
  );
}

/** One sentence about a run, printed when a command begins to follow it. */
export function describeRun({ runId, status, step, steps, reason }: RunView): string {
  return `${runId} is ${status} at step ${step} of ${steps}${reason === '' ? '' : ` (${reason})`}.`;
}
