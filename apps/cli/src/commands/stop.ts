import { withRun } from '@weft/client';
import { WeftError } from '@weft/common';
import { hasEnded, type RunView } from '@weft/contracts';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';
import { print, printJson } from '../terminal.js';

/** `weft stop`: asks the coordinator to end a run, and waits until it has ended. */
export async function stop(context: CommandContext, text: string, options: { checkpoint: boolean }): Promise<number> {
  return withRun(context, text, async ({ run, client }) => {
    if (client === undefined || hasEnded(run)) throw notRunningError(run);
    let latest = await client.stop(run.runId, { saveCheckpoint: options.checkpoint });
    if (!hasEnded(latest)) {
      if (!context.json) print(context.terminal, `Stopping ${run.runId} …`);
      for await (const news of client.watch(run.runId, latest.step)) if (news.kind === 'run') latest = news.run;
    }
    if (context.json) printJson(context.terminal, latest);
    else print(context.terminal, stopSentence(latest, context.terminal.commandName));
    return latest.status === 'failed' ? EXIT.failed : EXIT.done;
  });
}

/** `weft checkpoint`: asks for a checkpoint after the current step, and waits until it is written. */
export async function saveCheckpoint(context: CommandContext, text: string): Promise<number> {
  return withRun(context, text, async ({ run, client }) => {
    if (client === undefined || hasEnded(run)) throw notRunningError(run);
    let latest = await client.saveCheckpoint(run.runId);
    const isWaiting = () => latest.checkpointStep <= run.checkpointStep && !hasEnded(latest);
    for await (const news of client.watch(run.runId, latest.step)) {
      if (news.kind === 'run') latest = news.run;
      if (!isWaiting()) break;
    }
    if (context.json) printJson(context.terminal, latest);
    else if (isWaiting()) print(context.terminal, `${run.runId} has not written it yet; see weft status ${run.runId}`);
    else print(context.terminal, `${run.runId} has a checkpoint of step ${latest.checkpointStep}.`);
    return latest.checkpointStep > run.checkpointStep ? EXIT.done : EXIT.failed;
  });
}

function notRunningError({ runId, status, step, steps }: RunView): WeftError {
  const hint = status === 'finished' ? undefined : `weft resume ${runId} goes on with it`;
  return new WeftError(
    'failed_precondition',
    `run ${runId} is not running: it is ${status} at step ${step} of ${steps}`,
    hint === undefined ? {} : { hint },
  );
}

function stopSentence({ runId, status, step, checkpointStep, reason }: RunView, weft: string): string {
  if (status === 'failed') return `${runId} failed while it was stopping: ${reason}`;
  if (status === 'finished') return `${runId} had already reached its last step: it is finished.`;
  const saved = checkpointStep === 0 ? 'without a checkpoint' : `the newest checkpoint is of step ${checkpointStep}`;
  return `${runId} stopped at step ${step}; ${saved}. Go on with ${weft} resume ${runId}`;
}
