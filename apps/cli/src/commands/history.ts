import { listRuns, loadRunRecords, withRun } from '@weft/client';
import { age, decimal, duration } from '@weft/common';
import { hasEnded, type RunView } from '@weft/contracts';
import { Timeline, type TimelineEntry } from '@weft/coordination';
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
        Timeline.of(records).map(({ time, text: words, tone }) => [
          span(`${time}  `, 'dim'),
          span(words, STYLES[tone]),
        ]),
      );
    return EXIT.done;
  });
}

const STYLES: Readonly<Record<TimelineEntry['tone'], Style | undefined>> = {
  plain: undefined,
  quiet: 'dim',
  strong: 'bold',
  good: 'green',
  warning: 'yellow',
  bad: 'red',
};
