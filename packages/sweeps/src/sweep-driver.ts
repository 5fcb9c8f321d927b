import { sleep, WeftError } from '@weft/common';
import type { MetricsRow, RunView } from '@weft/contracts';
import type { Home } from '@weft/files';
import { earlyStopReason } from './early-stop.js';
import { type SweepSummary, summariseSweep } from './summarise-sweep.js';
import { writeSweepFiles } from './sweep-files.js';
import type { SweepOutline, SweepPoint } from './sweep-plan.js';
import type { SweepRecord } from './sweep-record.js';
import { isSettled, type SweepRun, sweepRun } from './sweep-run.js';

/** What the driver of a sweep needs from the coordinator. */
export interface SweepPort {
  /** The current runs, in the order of the record. Undefined when the sweep was cancelled. */
  runs(): Promise<readonly RunView[] | undefined>;
  /** The rows of a run so far. */
  metrics(run: RunView): Promise<readonly MetricsRow[]>;
  /** Ends a run at once; does nothing when it has ended meanwhile. */
  stop(runId: string, reason: string): Promise<void>;
  /** Closes the sweep with its result. */
  finish(result: SweepResult): Promise<void>;
  /** Logs a sentence. */
  note(sentence: string): void;
}

/** The result that is stored with the sweep's job. JSON-serialisable. */
export interface SweepResult {
  /** Where `runs.csv`, `fit.json` and `fit.svg` are, on the coordinator's host. */
  readonly directory: string;
  readonly law: NonNullable<SweepSummary['report']>['law'] | null;
  /** Why the runs determine no law. */
  readonly refusal: string | null;
  readonly predictions: SweepSummary['predictions'];
}

const POLL_MS = 500;
/** Pause after a failure of the store or of a file. */
const RETRY_MS = 2000;

/**
 * Drives a sweep to its end: stops runs that cannot win, and once all have ended fits the law, writes the files and closes
 * the sweep. All its state is read from the runs, so a driver that is started again goes on where the last one stopped. It
 * waits for runs that failed, because a person may resume them.
 *
 * @throws WeftError `cancelled` when the signal aborts; other errors are noted and tried again.
 */
export async function driveSweep(record: SweepRecord, home: Home, port: SweepPort, signal: AbortSignal): Promise<void> {
  let runs: readonly SweepRun[] = [];
  for (;;) {
    try {
      const views = await port.runs();
      if (views === undefined) return;
      runs = await readRuns(record, views, runs, port);
      if (runs.every(isSettled) && runs.every(({ view }) => view.status !== 'failed')) {
        await port.finish(await conclude(record, home, runs));
        return;
      }
      await stopHopelessRuns(record, runs, port);
    } catch (thrown) {
      if (signal.aborted) throw thrown;
      port.note(`the sweep ${record.id} is tried again in a moment: ${WeftError.from(thrown).sentence}`);
      await sleep(RETRY_MS, signal);
    }
    await sleep(POLL_MS, signal);
  }
}

async function conclude(record: SweepRecord, home: Home, runs: readonly SweepRun[]): Promise<SweepResult> {
  const summary = summariseSweep(record, runs);
  const directory = await writeSweepFiles(home, record, runs, summary);
  const { report, refusal, predictions } = summary;
  return { directory, law: report?.law ?? null, refusal: refusal?.message ?? null, predictions };
}

/** The runs with their metrics. Runs that have settled are not read again. */
export async function readRuns(
  { id, sweep, runs: points }: SweepOutline,
  views: readonly RunView[],
  before: readonly SweepRun[],
  { metrics }: Pick<SweepPort, 'metrics'>,
): Promise<readonly SweepRun[]> {
  return Promise.all(
    views.map(async (view, i) => {
      const known = before[i];
      if (known !== undefined && isSettled(known) && known.view.status === view.status) return known;
      const point = points[i];
      if (point === undefined) throw new WeftError('internal', `the sweep ${id} has more runs than its record`);
      return sweepRun(point, view, view.step === 0 ? [] : await metrics(view), sweep);
    }),
  );
}

/** Stops the runs that are far behind the others of their scale and seed. */
async function stopHopelessRuns(
  { sweep: { earlyStop } }: SweepRecord,
  runs: readonly SweepRun[],
  port: SweepPort,
): Promise<void> {
  if (earlyStop === null) return;
  for (const { planned, view, losses } of runs) {
    if (view.status !== 'running') continue;
    const siblings = runs.filter((other) => isSibling(other.planned, planned)).map((other) => other.losses);
    const reason = earlyStopReason(losses, view.steps, siblings, earlyStop);
    if (reason === undefined) continue;
    port.note(`${planned.scale} at ${planned.learningRate} is given up: ${reason}`);
    await port.stop(view.runId, `given up: ${reason}`);
  }
}

function isSibling(other: SweepPoint, point: SweepPoint): boolean {
  return other !== point && other.scale === point.scale && other.seed === point.seed;
}
