import { firstAndLastLoss, type ProgressView } from '@weft/client';
import { count, decimal, duration, median, plural, sourceCounts } from '@weft/common';
import type { MetricsRow, RunView } from '@weft/contracts';
import { shortPath } from '@weft/files';
import { EXIT } from '../report-error.js';
import { type Line, type Span, span, summaryRows } from '../styled-lines.js';
import { checkpointPath, nextSteps, statusStyle } from './describe-run.js';

/** The outcome of a run that a command has followed to its end. */
export interface Outcome {
  readonly view: ProgressView;
  readonly metrics: readonly MetricsRow[];
  /** Seconds since the command began to follow it. */
  readonly elapsedSeconds: number;
  /** The directory with the logs of local processes. */
  readonly logDirectory?: string;
}

/** The summary after `launch`, `resume` and `watch`: how the run ended, where its files are, what to try next. */
export function renderSummary({ view, metrics, elapsedSeconds, logDirectory }: Outcome, weft: string): Line[] {
  const { run } = view;
  const loss = firstAndLastLoss(metrics);
  const pairs: [string, string | Span][] = [];
  if (view.latest !== undefined) {
    pairs.push(['final loss', `${decimal(view.latest.loss)}${meanLosses(loss, metrics.length)}`]);
    pairs.push(['speed', `${count(typicalSpeed(metrics))} tokens/s`]);
    pairs.push(['sequences', sourceCounts(view.sequences)]);
  }
  pairs.push(['run', shortPath(run.directory)]);
  if (run.checkpointStep > 0) pairs.push(['checkpoint', shortPath(checkpointPath(run))]);
  if (logDirectory !== undefined) pairs.push(['logs', shortPath(logDirectory)]);
  return [
    [],
    [
      span(`${run.runId} ${run.status}`, statusStyle(run.status)),
      span(
        ` at step ${run.step} of ${run.steps}, on ${plural(run.workers, 'worker')}, in ${duration(elapsedSeconds)}.`,
      ),
    ],
    ...summaryRows(pairs),
    ...nextSteps(run, weft),
  ];
}

/** The summary for programs: the last line of `--json`. */
export function summaryJson({ view, metrics, elapsedSeconds, logDirectory }: Outcome): object {
  const { run } = view;
  const loss = firstAndLastLoss(metrics);
  return {
    type: 'summary',
    ...run,
    loss: view.latest?.loss ?? null,
    meanLossOfFirstSteps: loss.first ?? null,
    meanLossOfLastSteps: loss.last ?? null,
    tokensPerSecond: metrics.length === 0 ? null : typicalSpeed(metrics),
    sequences: view.sequences,
    checkpoint: run.checkpointStep > 0 ? checkpointPath(run) : null,
    elapsedSeconds,
    logDirectory: logDirectory ?? null,
  };
}

/** The exit code of a command that followed a run: 130 when it was stopped before its last step, as after Ctrl-C. */
export function runExitCode({ status }: RunView): number {
  if (status === 'finished') return EXIT.done;
  return status === 'failed' || status === 'interrupted' ? EXIT.failed : EXIT.stopped;
}

function meanLosses({ first, last }: { first?: number; last?: number }, steps: number): string {
  if (first === undefined || last === undefined || steps < 10) return '';
  return ` (mean of the last 5 steps ${decimal(last)}, of the first 5 ${decimal(first)})`;
}

/** The median, because the first steps compile the graph and some steps have a pause before them. */
function typicalSpeed(metrics: readonly MetricsRow[]): number {
  const speeds = metrics.flatMap(({ tokensPerSecond }) => tokensPerSecond ?? []);
  return speeds.length === 0 ? 0 : median(speeds);
}
