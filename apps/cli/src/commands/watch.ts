import { followRun, RunProgress, recentMetrics, runSentence, withRun } from '@weft/client';
import { hasEnded, type RunView } from '@weft/contracts';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { createDisplay } from '../progress/display.js';
import { EXIT } from '../report-error.js';
import { exitCodeOf, renderSummary, summaryOf } from '../runs/render-summary.js';
import { paint } from '../spans.js';
import { asTyped, say } from '../terminal.js';

/** `weft watch`: shows a run until it ends; Ctrl-C leaves it running. */
export async function watch(context: CommandContext, text: string): Promise<number> {
  const { terminal, json } = context;
  return withRun(context, text, async ({ run, client }) => {
    if (client === undefined || hasEnded(run)) {
      const progress = new RunProgress(run);
      for (const metrics of await recentMetrics(run, client)) progress.addStep(metrics);
      tellEnd(context, progress);
      return exitCodeOf(run);
    }
    const display = createDisplay(terminal, context);
    const interrupts = new Interrupts();
    let progress: RunProgress;
    try {
      if (!json) display.event(runSentence(run));
      progress = await followRun({ client, runId: run.runId, observer: display, signal: interrupts.first });
    } finally {
      interrupts.close();
      display.close();
    }
    if (interrupts.first.aborted && !hasEnded(progress.run)) {
      if (!json) say(terminal, `Left ${run.runId} running. Come back with ${terminal.commandName} watch ${run.runId}`);
      return EXIT.stopped;
    }
    tellEnd(context, progress);
    return exitCodeOf(progress.run);
  });
}

function tellEnd({ terminal, json }: CommandContext, progress: RunProgress): void {
  const { run } = progress;
  const view = progress.view(Date.now());
  const outcome = { view, metrics: progress.metrics, elapsedSeconds: lifetimeSeconds(run) };
  if (json) {
    say(terminal, JSON.stringify(summaryOf(outcome)));
    return;
  }
  for (const line of renderSummary(outcome, terminal.commandName)) say(terminal, paint(line, terminal.colors));
  if (run.reason !== '' && run.status !== 'finished') say(terminal, `\nIt is ${run.status} because: ${run.reason}.`);
  if (run.failure?.cure !== undefined) say(terminal, asTyped(`Cure: ${run.failure.cure}.`, terminal));
}

const lifetimeSeconds = ({ createdAtMs, updatedAtMs }: RunView) => (updatedAtMs - createdAtMs) / 1000;
