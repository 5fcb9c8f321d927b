import { listRuns, loadRunRecords, withRun } from '@weft/client';
import { age, assertNever, decimal, duration, plural } from '@weft/common';
import { hasEnded, type RunView } from '@weft/contracts';
import type { RunRecord } from '@weft/coordination';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { statusStyle } from '../runs/describe-run.js';
import { type Line, printTable, type Style, span, table } from '../styled-lines.js';
import { print, printJson } from '../terminal.js';

/** `weft history`: the runs that have ended, the latest first; of one run, what happened to it. */
export async function history(context: CommandContext, text: string | undefined): Promise<number> {
  return text === undefined ? listEnded(context) : showTimeline(context, text);
}

async function listEnded(context: CommandContext): Promise<number> {
  const { terminal, json } = context;
  const { runs } = await listRuns(context);
  const latestFirst = runs.filter(hasEnded).toSorted((a, b) => b.updatedAtMs - a.updatedAtMs);
  if (json) printJson(terminal, { runs: latestFirst });
  else if (latestFirst.length === 0) print(terminal, 'No run has ended yet.');
  else printTable(terminal, renderEnded(latestFirst, Date.now()));
  return EXIT.done;
}

/** The table of runs that have ended. */
export function renderEnded(runs: readonly RunView[], nowMs: number): Line[] {
  return table(
    [
      { title: 'run' },
      { title: 'end' },
      { title: 'step', align: 'right' },
      { title: 'loss', align: 'right' },
      { title: 'attempts', align: 'right' },
      { title: 'ended' },
      { title: 'lasted', align: 'right' },
      { title: 'because' },
    ],
    runs.map((run) => [
      span(run.runId, 'bold'),
      span(run.status, statusStyle(run.status)),
      `${run.step}/${run.steps}`,
      decimal(run.loss),
      `${run.failedAttempts + (run.status === 'failed' ? 0 : 1)}`,
      age(nowMs - run.updatedAtMs),
      duration((run.updatedAtMs - run.createdAtMs) / 1000),
      run.reason,
    ]),
  );
}

async function showTimeline(context: CommandContext, text: string): Promise<number> {
  const { terminal, json } = context;
  return withRun(context, text, async ({ run, client }) => {
    const records = await loadRunRecords(context, run.runId, client);
    if (json) printJson(terminal, { runId: run.runId, records });
    else
      printTable(
        terminal,
        buildTimeline(records).map(({ time, text: words, style }) => [span(`${time}  `, 'dim'), span(words, style)]),
      );
    return EXIT.done;
  });
}

/** One thing that happened to a run. */
export interface TimelineEntry {
  /** ISO 8601. */
  readonly time: string;
  readonly text: string;
  readonly style?: Style;
}

type Committed = Extract<RunRecord, { kind: 'committed' }>;

/** The timeline of a run from its log; steps committed in a row are one entry. */
export function buildTimeline(records: readonly RunRecord[]): TimelineEntry[] {
  const chapters: TimelineEntry[] = [];
  let steps: Committed[] = [];
  const flush = () => {
    if (steps.length > 0) chapters.push(describeSteps(steps));
    steps = [];
  };
  for (const record of records) {
    if (record.kind === 'committed') {
      steps.push(record);
      continue;
    }
    flush();
    chapters.push(describeRecord(record));
  }
  flush();
  return chapters;
}

function describeSteps(steps: readonly Committed[]): TimelineEntry {
  const first = steps[0]!;
  const last = steps.at(-1)!;
  const elapsed = (Date.parse(last.time) - Date.parse(first.time)) / 1000;
  const range = first === last ? `step ${first.entry.step}` : `steps ${first.entry.step} to ${last.entry.step}`;
  const loss =
    first === last ? decimal(last.entry.loss) : `${decimal(first.entry.loss)} to ${decimal(last.entry.loss)}`;
  const skipped = steps.filter(({ entry }) => !entry.applied).length;
  const notApplied = skipped === 0 ? '' : `; ${plural(skipped, 'step')} not applied, gradients not finite`;
  const took = first === last ? '' : ` in ${duration(elapsed)}`;
  return { time: last.time, text: `trained ${range}${took}, loss ${loss}${notApplied}`, style: 'dim' };
}

function describeRecord(record: Exclude<RunRecord, Committed>): TimelineEntry {
  const { time } = record;
  switch (record.kind) {
    case 'launched': {
      const { priority } = record.config.queue ?? { priority: 0 };
      const sweep = record.parent === undefined ? '' : ` in sweep ${record.parent}`;
      const at = priority === 0 ? '' : ` at priority ${priority}`;
      const asked = `${plural(record.config.steps, 'step')} on ${plural(record.config.workers, 'worker')}`;
      return { time, text: `launched${sweep}${at}: ${asked}`, style: 'bold' };
    }
    case 'assigned': {
      const hosts = [...new Set(record.workers.map(({ hostName }) => hostName))].join(', ');
      const from = { fresh: 'afresh', checkpoint: 'from its checkpoint', keep: 'from memory' }[record.state];
      const on = `${plural(record.workers.length, 'worker')} (${hosts})`;
      return { time, text: `generation ${record.generation} began at step ${record.firstStep} on ${on}, ${from}` };
    }
    case 'checkpointWritten':
      return { time, text: `checkpoint of step ${record.step} saved` };
    case 'workerLost':
      return {
        time,
        text: `rank ${record.rank} (${record.workerId} on ${record.hostName}) was lost: ${record.reason}`,
        style: 'yellow',
      };
    case 'ringBroke':
      return {
        time,
        text: `the ring broke at rank ${record.rank} in step ${record.step}: ${record.reason}`,
        style: 'yellow',
      };
    case 'requeued':
      return { time, text: `queued: ${record.reason}`, style: 'yellow' };
    case 'attemptFailed':
      return {
        time,
        text: `attempt ${record.attempt} of ${record.maxAttempts} failed: ${record.failure.message}`,
        style: 'yellow',
      };
    case 'resumed':
      return { time, text: record.reason };
    case 'stopRequested':
      return { time, text: 'asked to stop' };
    case 'stopped':
      return { time, text: `stopped at step ${record.step}: ${record.reason}` };
    case 'finished':
      return { time, text: `finished: all ${plural(record.step, 'step')} are trained`, style: 'green' };
    case 'failed':
      return { time, text: `failed: ${record.failure.message}`, style: 'red' };
    default:
      return assertNever(record);
  }
}
