import { type FoundCoordinator, followRun, type RunsClient } from '@weft/client';
import { errorCode, systemClock, WeftError } from '@weft/common';
import type { RunView } from '@weft/contracts';
import type { Cluster } from '@weft/launch';
import type { CommandContext } from '../context.js';
import { Interrupts } from '../interrupts.js';
import { createDisplay, type Display } from '../progress/display.js';
import { EXIT } from '../report-error.js';
import { printLines } from '../styled-lines.js';
import { printJson } from '../terminal.js';
import { openCluster } from './open-cluster.js';
import { type Outcome, renderSummary, runExitCode, summaryJson } from './summary.js';

/** Options of `withCluster`. */
export interface WithClusterOptions {
  readonly context: CommandContext;
  /** How many workers to start on this machine; undefined: use a coordinator that already runs. */
  readonly localWorkers: number | undefined;
  /** How many expert workers to start beside them. */
  readonly localExpertWorkers: number;
  /** Return as soon as the run is accepted. */
  readonly detach: boolean;
  /** Launches or resumes the run, and prints that it did. */
  readonly begin: (coordinator: FoundCoordinator, display: Display) => Promise<RunView>;
}

/**
 * Launches or resumes a run on an existing cluster, or on a local one that lives as long as the run, and follows it to its
 * end.
 *
 * @returns the exit code
 */
export async function withCluster(options: WithClusterOptions): Promise<number> {
  const { context, localWorkers, localExpertWorkers, detach, begin } = options;
  const interrupts = new Interrupts();
  const display = createDisplay(context.terminal, context);
  try {
    const cluster = await openCluster({
      context,
      localWorkers,
      expertWorkers: localExpertWorkers,
      onProgress: (sentence) => display.event(sentence),
      interrupts,
    });
    try {
      const run = await begin(cluster, display);
      if (detach) return EXIT.done;
      return await driveRun({ context, client: cluster.client, display, interrupts, run, local: cluster.local });
    } finally {
      display.close();
      await cluster.close();
    }
  } catch (thrown) {
    if (!interrupts.first.aborted || !WeftError.is(thrown, 'cancelled')) throw thrown;
    display.event('Left before there was a run.');
    return EXIT.stopped;
  } finally {
    display.close();
    interrupts.close();
  }
}

interface DriveRunOptions {
  readonly context: CommandContext;
  readonly client: RunsClient;
  readonly display: Display;
  readonly interrupts: Interrupts;
  readonly run: RunView;
  /** Set when this command started the processes: when they end, the run ends. */
  readonly local: Cluster | undefined;
}

/**
 * Follows a run to its end: shows it, turns Ctrl-C into a stop with a checkpoint, reports local processes that die, and
 * prints a summary.
 *
 * @returns the exit code
 * @throws WeftError the failure of the run, or of its local processes.
 */
async function driveRun(options: DriveRunOptions): Promise<number> {
  const { context, client, display, run, local } = options;
  const beganMs = systemClock.monotonicMs();
  const leaving = new AbortController();
  let failure: WeftError | undefined;
  local?.onExit(async (sentence) => {
    display.event(sentence);
    const error = await local.failure();
    if (error === undefined) return;
    failure = error;
    leaving.abort(error);
  });
  stopWhenInterrupted(options);

  const progress = await followRun({
    client,
    location: context,
    runId: run.runId,
    observer: display,
    signal: leaving.signal,
  });
  display.close();
  if (failure !== undefined) throw interruptedError(failure, progress.run);
  printSummary(context, {
    view: progress.view(systemClock.nowMs()),
    metrics: progress.metrics,
    elapsedSeconds: (systemClock.monotonicMs() - beganMs) / 1000,
    ...(local === undefined ? {} : { logDirectory: local.logDirectory }),
  });
  if (progress.run.status === 'failed') throw runFailure(progress.run);
  return runExitCode(progress.run);
}

function stopWhenInterrupted({ client, display, interrupts, run, local }: DriveRunOptions): void {
  const stop = () => {
    display.event('Stopping after the current step, with a checkpoint; press Ctrl-C again to leave at once.');
    client.stop(run.runId, { saveCheckpoint: true }).catch((thrown: unknown) => {
      display.event(`The stop was refused: ${WeftError.from(thrown).sentence}`);
    });
  };
  if (interrupts.first.aborted) stop();
  else interrupts.first.addEventListener('abort', stop, { once: true });
  interrupts.beforeExit(() => {
    display.close();
    local?.kill();
  });
}

function printSummary({ terminal, json }: CommandContext, outcome: Outcome): void {
  if (json) printJson(terminal, summaryJson(outcome));
  else printLines(terminal, renderSummary(outcome, terminal.commandName));
}

/** The failure of a run becomes the error of the command that followed it. */
function runFailure({ reason, failure }: RunView): WeftError {
  const hint = failure?.hint ? { hint: failure.hint } : {};
  return new WeftError(errorCode(failure?.code ?? 'internal'), `the run failed: ${reason}`, hint);
}

function interruptedError(cause: WeftError, { runId, step, checkpointStep }: RunView): WeftError {
  const from = checkpointStep > 0 ? `step ${checkpointStep}` : 'the start';
  return new WeftError(cause.code, `the run was interrupted at step ${step}: ${cause.message}`, {
    hint: `weft resume ${runId} goes on from ${from}`,
    cause,
  });
}
