import type { RunsClient } from '@weft/client';
import { followRun } from '@weft/client';
import { errorCode, systemClock, WeftError } from '@weft/common';
import type { RunView } from '@weft/contracts';
import type { Cluster } from '@weft/launch';
import type { CommandContext } from '../context.js';
import type { Interrupts } from '../interrupts.js';
import type { Display } from '../progress/display.js';
import { paint } from '../spans.js';
import { say } from '../terminal.js';
import { exitCodeOf, type Outcome, renderSummary, summaryOf } from './render-summary.js';

export interface DriveOptions {
  readonly context: CommandContext;
  readonly client: RunsClient;
  readonly display: Display;
  readonly interrupts: Interrupts;
  readonly run: RunView;
  /** Set when the processes of the run are our children: their end is the end of the run. */
  readonly cluster: Cluster | undefined;
}

/**
 * Stays with a run from its launch to its end: shows it, turns Ctrl-C into a stop with a checkpoint, tells of local
 * processes that die, and closes with a summary. Returns the exit code.
 */
export async function driveRun(options: DriveOptions): Promise<number> {
  const { context, client, display, run, cluster } = options;
  const beganMs = systemClock.monotonicMs();
  const leaving = new AbortController();
  const failure: { error?: WeftError } = {};
  cluster?.onExit(async (sentence) => {
    display.event(sentence);
    const error = await cluster.failure();
    if (error === undefined) return;
    failure.error = error;
    leaving.abort();
  });
  stopWhenInterrupted(options);

  const progress = await followRun({ client, runId: run.runId, observer: display, signal: leaving.signal });
  display.close();
  if (failure.error !== undefined) throw interrupted(failure.error, progress.run);
  report(context, {
    view: progress.view(systemClock.nowMs()),
    metrics: progress.metrics,
    elapsedSeconds: (systemClock.monotonicMs() - beganMs) / 1000,
    ...(cluster === undefined ? {} : { logDirectory: cluster.logDirectory }),
  });
  if (progress.run.status === 'failed') throw failureOf(progress.run);
  return exitCodeOf(progress.run);
}

function stopWhenInterrupted({ client, display, interrupts, run, cluster }: DriveOptions): void {
  const stop = () => {
    display.event('Stopping after the step in hand, with a checkpoint; press Ctrl-C again to leave at once.');
    client.stop(run.runId, { saveCheckpoint: true }).catch((thrown: unknown) => {
      display.event(`The stop was refused: ${WeftError.from(thrown).sentence}`);
    });
  };
  if (interrupts.first.aborted) stop();
  else interrupts.first.addEventListener('abort', stop, { once: true });
  interrupts.beforeLeaving(() => {
    display.close();
    cluster?.kill();
  });
}

function report({ terminal, json }: CommandContext, outcome: Outcome): void {
  if (json) {
    say(terminal, JSON.stringify(summaryOf(outcome)));
    return;
  }
  for (const line of renderSummary(outcome, terminal.commandName)) say(terminal, paint(line, terminal.colors));
}

/** The error of a run that failed is the error of the command that drove it. */
function failureOf({ reason, failure }: RunView): WeftError {
  const cure = failure?.cure ? { cure: failure.cure } : {};
  return new WeftError(errorCode(failure?.code ?? 'internal'), `the run failed: ${reason}`, cure);
}

function interrupted(cause: WeftError, { runId, step, checkpointStep }: RunView): WeftError {
  const from = checkpointStep > 0 ? `step ${checkpointStep}` : 'the start';
  return new WeftError(cause.code, `the run was interrupted at step ${step}: ${cause.message}`, {
    cure: `weft resume ${runId} goes on from ${from}`,
    cause,
  });
}
