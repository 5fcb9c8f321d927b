import { listRuns, recordsOf, withRun } from '@weft/client';
import { age, decimal, duration } from '@weft/common';
import { hasEnded, type RunView } from '@weft/contracts';
import type { CommandContext } from '../context.js';
import { storyOf } from '../history/story.js';
import { statusStyle } from '../progress/render-bar.js';
import { EXIT } from '../report-error.js';
import { clip, type Line, paint, span } from '../spans.js';
import { table } from '../table.js';
import { say, type Terminal } from '../terminal.js';

/** `weft history`: the runs that have ended, the latest first; of one run, what happened to it. */
export async function history(context: CommandContext, text: string | undefined): Promise<number> {
  return text === undefined ? ended(context) : story(context, text);
}

async function ended(context: CommandContext): Promise<number> {
  const { terminal, json } = context;
  const { runs } = await listRuns(context);
  const latestFirst = runs.filter(hasEnded).toSorted((a, b) => b.updatedAtMs - a.updatedAtMs);
  if (json) say(terminal, JSON.stringify({ runs: latestFirst }));
  else if (latestFirst.length === 0) say(terminal, 'No run has ended yet.');
  else print(terminal, renderEnded(latestFirst, Date.now()));
  return EXIT.done;
}

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

async function story(context: CommandContext, text: string): Promise<number> {
  const { terminal, json } = context;
  return withRun(context, text, async ({ run, client }) => {
    const records = await recordsOf(context, run.runId, client);
    if (json) say(terminal, JSON.stringify({ runId: run.runId, records }));
    else
      print(
        terminal,
        storyOf(records).map(({ time, text: words, style }) => [span(`${time}  `, 'dim'), span(words, style)]),
      );
    return EXIT.done;
  });
}

function print(terminal: Terminal, lines: readonly Line[]): void {
  const width = terminal.stdout.isTTY ? terminal.stdout.columns : Number.POSITIVE_INFINITY;
  for (const line of lines) say(terminal, paint(clip(line, width), terminal.colors));
}
