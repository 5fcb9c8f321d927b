import { describeRun, followRun, type RunProgress, readProgress, withRun } from '@weft/client';
import { hasEnded, type RunView } from '@weft/contracts';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { createDisplay } from '../progress/display.js';
import { EXIT } from '../report-error.js';
import { renderSummary, runExitCode, summaryJson } from '../runs/summary.js';
import { printLines } from '../styled-lines.js';
import { asTyped, print, printJson } from '../terminal.js';
import { renderWatch } from '../watch/render-watch.js';
import { RunPoller } from '../watch/run-poller.js';
import { WatchCurves } from '../watch/watch-curves.js';

/** `weft watch`: shows a run until it ends; Ctrl-C leaves it running. */
export async function watch(context: CommandContext, text: string): Promise<number> {
  const { terminal, json } = context;
  return withRun(context, text, async ({ run, client }) => {
    if (client === undefined || hasEnded(run)) {
      const progress = await readProgress(run, client);
      printEnd(context, progress);
      return runExitCode(run);
    }
    const curves = await WatchCurves.of(run);
    const poller = new RunPoller(context, run.runId);
    const display = createDisplay(terminal, context, (progress, nowMs, columns, rows) => {
      poller.start();
      curves.follow(progress.metrics);
      const { ranks, goodput } = poller;
      return renderWatch({ view: progress.view(nowMs), curves, ranks, goodput }, columns, rows);
    });
    const interrupts = new Interrupts();
    let progress: RunProgress;
    try {
      if (!json) display.event(describeRun(run));
      progress = await followRun({
        client,
        location: context,
        runId: run.runId,
        observer: display,
        signal: interrupts.first,
      });
    } finally {
      interrupts.close();
      display.close();
      await poller.close();
    }
    if (interrupts.first.aborted && !hasEnded(progress.run)) {
      if (!json)
        print(terminal, `Left ${run.runId} running. Come back with ${terminal.commandName} watch ${run.runId}`);
      return EXIT.stopped;
    }
    printEnd(context, progress);
    return runExitCode(progress.run);
  });
}

function printEnd({ terminal, json }: CommandContext, progress: RunProgress): void {
  const { run } = progress;
  const view = progress.view(Date.now());
  const outcome = { view, metrics: progress.metrics, elapsedSeconds: lifetimeSeconds(run) };
  if (json) {
    printJson(terminal, summaryJson(outcome));
    return;
  }
  printLines(terminal, renderSummary(outcome, terminal.commandName));
  if (run.reason !== '' && run.status !== 'finished') print(terminal, `\nIt is ${run.status} because: ${run.reason}.`);
  if (run.failure?.hint !== undefined) print(terminal, asTyped(`Hint: ${run.failure.hint}.`, terminal));
}

const lifetimeSeconds = ({ createdAtMs, updatedAtMs }: RunView) => (updatedAtMs - createdAtMs) / 1000;
