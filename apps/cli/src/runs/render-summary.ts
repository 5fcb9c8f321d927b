import { join } from 'node:path';
import { endsOfLoss, median, type ProgressView } from '@weft/client';
import { count, decimal, duration, plural, SOURCES } from '@weft/common';
import type { MetricsRow, RunView } from '@weft/contracts';
import { shortPath } from '@weft/files';
import { statusStyle } from '../progress/render-bar.js';
import { EXIT } from '../report-error.js';
import { type Line, type Span, span } from '../spans.js';
import { facts } from '../table.js';

/** What is known when a command has followed a run to its end. */
export interface Outcome {
  readonly view: ProgressView;
  readonly metrics: readonly MetricsRow[];
  /** Seconds since the command began to follow it. */
  readonly elapsedSeconds: number;
  /** Where the logs of local processes lie. */
  readonly logDirectory?: string;
}

/** The last words of `launch` and `resume`: how it ended, where everything lies, what to try next. */
export function renderSummary({ view, metrics, elapsedSeconds, logDirectory }: Outcome, weft: string): Line[] {
  const { run } = view;
  const loss = endsOfLoss(metrics);
  const pairs: [string, string | Span][] = [];
  if (view.latest !== undefined) {
    pairs.push(['final loss', `${decimal(view.latest.loss)}${meansOfLoss(loss, metrics.length)}`]);
    pairs.push(['speed', `${count(typicalSpeed(metrics))} tokens/s`]);
    pairs.push(['sequences', SOURCES.map((source) => `${source} ${count(view.sequences[source])}`).join(', ')]);
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
    ...facts(pairs),
    ...nextSteps(run, weft),
  ];
}

/** The same for programs. */
export function summaryOf({ view, metrics, elapsedSeconds, logDirectory }: Outcome): object {
  const { run } = view;
  const loss = endsOfLoss(metrics);
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

/**
 * What a person can do with a run with this status; each a command and what it does.
 *
 * @param coordinator its address, where one is known.
 */
export function suggestions(run: RunView, coordinator = '<host:port>'): [command: string, effect: string][] {
  const id = run.runId;
  switch (run.status) {
    case 'finished':
      return [
        [`resume ${id} --steps ${run.steps * 2}`, 'train it further'],
        [`data ledger ${id} --check`, 'see that every sequence was consumed exactly once'],
        [`status ${id}`, 'look at it again'],
      ];
    case 'stopped':
    case 'interrupted':
      return [[`resume ${id}`, run.checkpointStep > 0 ? `go on from step ${run.checkpointStep}` : 'start it again']];
    case 'failed':
      return [
        [
          `resume ${id}`,
          `go on from ${run.checkpointStep > 0 ? `step ${run.checkpointStep}` : 'the start'} once the cause is cured`,
        ],
      ];
    case 'queued':
      return [
        [`queue`, 'see who is before it'],
        [`worker --coordinator ${coordinator}`, 'start a worker'],
        [`stop ${id}`, 'give up waiting'],
      ];
    case 'running':
      return [
        [`watch ${id}`, 'follow it'],
        [`stop ${id}`, 'end it with a checkpoint'],
      ];
    case 'stopping':
      return [[`watch ${id}`, 'see it end']];
  }
}

export function nextSteps(run: RunView, weft: string, coordinator?: string): Line[] {
  const commands = suggestions(run, coordinator);
  const width = Math.max(...commands.map(([command]) => command.length));
  return [
    [],
    [span('Next:')],
    ...commands.map(([command, effect]) => [
      span(`  ${weft} ${command.padEnd(width)}`, 'bold'),
      span(`  ${effect}`, 'dim'),
    ]),
  ];
}

/** 130 for a run that was stopped before its last step, as for any command that Ctrl-C ended. */
export function exitCodeOf({ status }: RunView): number {
  if (status === 'finished') return EXIT.done;
  return status === 'failed' || status === 'interrupted' ? EXIT.failed : EXIT.stopped;
}

export function checkpointPath({ directory, checkpointStep }: RunView): string {
  return join(directory, 'checkpoints', `step-${checkpointStep.toString().padStart(8, '0')}`);
}

function meansOfLoss({ first, last }: { first?: number; last?: number }, steps: number): string {
  if (first === undefined || last === undefined || steps < 10) return '';
  return ` (mean of the last 5 steps ${decimal(last)}, of the first 5 ${decimal(first)})`;
}

/** The median: the first steps compile the graph, and a pause is not a speed. */
function typicalSpeed(metrics: readonly MetricsRow[]): number {
  return median(metrics.flatMap(({ tokensPerSecond }) => tokensPerSecond ?? [])) ?? 0;
}
