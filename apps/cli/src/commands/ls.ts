import { listRuns, readMetrics } from '@weft/client';
import { age, decimal } from '@weft/common';
import type { MetricsRow, RunView } from '@weft/contracts';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { statusStyle } from '../runs/describe-run.js';
import { type Line, printTable, span, table } from '../styled-lines.js';
import { print, printJson } from '../terminal.js';

interface Row {
  readonly run: RunView;
  readonly latest: MetricsRow | undefined;
}

/** `weft ls`: every run, the newest first. */
export async function ls(context: CommandContext): Promise<number> {
  const { terminal, json } = context;
  const { runs, unreadable } = await listRuns(context);
  const rows = await Promise.all(
    runs.toReversed().map(async (run) => ({
      run,
      latest: (await readMetrics(run.directory, { onlyTail: true }).catch(() => [])).at(-1),
    })),
  );
  if (json) {
    const listed = rows.map(({ run, latest }) => ({ ...run, loss: latest?.loss ?? run.loss ?? null }));
    const broken = unreadable.map(({ runId, error }) => ({ runId, message: error.message }));
    printJson(terminal, { runs: listed, unreadable: broken });
    return EXIT.done;
  }
  if (rows.length === 0) print(terminal, `No runs yet. Try ${terminal.commandName} launch debugTiny --local 2`);
  else {
    printTable(terminal, renderRuns(rows, Date.now()));
  }
  for (const { runId, error } of unreadable) terminal.stderr.write(`${runId} cannot be read: ${error.message}\n`);
  return EXIT.done;
}

/** The table of `weft ls`. */
export function renderRuns(rows: readonly Row[], nowMs: number): Line[] {
  return table(
    [
      { title: 'run' },
      { title: 'recipe' },
      { title: 'status' },
      { title: 'step', align: 'right' },
      { title: 'loss', align: 'right' },
      { title: 'last change' },
    ],
    rows.map(({ run, latest }) => [
      span(run.runId, 'bold'),
      run.recipe,
      span(run.status, statusStyle(run.status)),
      `${run.step}/${run.steps}`,
      decimal(latest?.loss ?? run.loss),
      age(nowMs - run.updatedAtMs),
    ]),
  );
}
