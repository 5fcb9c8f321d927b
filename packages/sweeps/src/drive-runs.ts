import { sleep, WeftError } from '@weft/common';
import { hasEnded, type MetricsRow, type RunView } from '@weft/contracts';
import type { Losses } from './early-stop.js';

/** What the driver of a sweep or grid needs from the coordinator. */
export interface SweepPort {
  /** The current runs, in the order of the record. Undefined when the sweep was cancelled. */
  runs(): Promise<readonly RunView[] | undefined>;
  /** The rows of a run so far. */
  metrics(run: RunView): Promise<readonly MetricsRow[]>;
  /** Ends a run at once; does nothing when it has ended meanwhile. */
  stop(runId: string, reason: string): Promise<void>;
  /** Closes the sweep with its result. */
  finish(result: DriverResult): Promise<void>;
  /** Logs a sentence. */
  note(sentence: string): void;
}

/** What every result has that is stored with a sweep's job. JSON-serialisable. */
export interface DriverResult {
  /** Where the files of the result are, on the coordinator's host. */
  readonly directory: string;
}

/** What is known of every run. */
export interface FollowedRun {
  readonly view: RunView;
  readonly losses: Losses;
}

/** What sets a kind of sweep apart. */
export interface DrivenSweep<Run extends FollowedRun> {
  readonly id: string;
  /** A run from its metrics. */
  readonly read: (index: number, view: RunView, rows: readonly MetricsRow[]) => Run;
  /** Why a run that trains should be stopped; undefined where it should not. */
  readonly hopeless: (run: Run, runs: readonly Run[]) => string | undefined;
  /** Writes the files of the result, once all runs have ended and none has failed. */
  readonly conclude: (runs: readonly Run[]) => Promise<DriverResult>;
}

const POLL_MS = 500;
/** Pause after a failure of the store or of a file. */
const RETRY_MS = 2000;

/**
 * Drives runs to their end: stops those that cannot win, and once all have ended concludes and closes the sweep. All its
 * state is read from the runs, so a driver that is started again goes on where the last one stopped. It waits for runs that
 * failed, because a person may resume them.
 *
 * @throws WeftError `cancelled` when the signal aborts; other errors are noted and tried again.
 */
export async function driveRuns<Run extends FollowedRun>(
  sweep: DrivenSweep<Run>,
  port: SweepPort,
  signal: AbortSignal,
): Promise<void> {
  let runs: readonly Run[] = [];
  for (;;) {
    try {
      const views = await port.runs();
      if (views === undefined) return;
      runs = await readRuns(sweep, views, runs, port);
      if (runs.every(isSettled) && runs.every(({ view }) => view.status !== 'failed')) {
        await port.finish(await sweep.conclude(runs));
        return;
      }
      for (const run of runs) {
        const reason = run.view.status === 'running' ? sweep.hopeless(run, runs) : undefined;
        if (reason === undefined) continue;
        port.note(`${run.view.runId} is given up: ${reason}`);
        await port.stop(run.view.runId, `given up: ${reason}`);
      }
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      port.note(`the sweep ${sweep.id} is tried again in a moment: ${WeftError.from(thrown).sentence}`);
      await sleep(RETRY_MS, signal);
    }
    await sleep(POLL_MS, signal);
  }
}

/** The runs with their metrics. Runs that have settled are not read again. */
export async function readRuns<Run extends FollowedRun>(
  { read }: Pick<DrivenSweep<Run>, 'read'>,
  views: readonly RunView[],
  before: readonly Run[],
  { metrics }: Pick<SweepPort, 'metrics'>,
): Promise<readonly Run[]> {
  return Promise.all(
    views.map(async (view, i) => {
      const known = before[i];
      if (known !== undefined && isSettled(known) && known.view.status === view.status) return known;
      return read(i, view, view.step === 0 ? [] : await metrics(view));
    }),
  );
}

/** Whether nothing of the run will change, so it need not be read again. */
export function isSettled({ view, losses }: FollowedRun): boolean {
  return hasEnded(view) && (view.status !== 'finished' || losses.length >= view.steps);
}

/** @throws WeftError `failed_precondition` naming the first failed run: it has no score until it is resumed and finishes. */
export function refuseFailures(runs: readonly FollowedRun[]): void {
  const failed = runs.filter(({ view }) => view.status === 'failed');
  const [first] = failed;
  if (first === undefined) return;
  const { runId, reason } = first.view;
  throw new WeftError(
    'failed_precondition',
    `${failed.length} of ${runs.length} runs failed, ${runId} because ${reason}`,
    {
      hint: `mend the reason, then weft resume ${runId}, and run this command again`,
    },
  );
}
