import { join } from 'node:path';
import { duration } from '@weft/common';
import type { RunView } from '@weft/contracts';
import { type Line, type Style, span } from '../styled-lines.js';

/** The colour of a status, the same in every table. */
export function statusStyle(status: RunView['status']): Style {
  switch (status) {
    case 'finished':
      return 'green';
    case 'running':
      return 'cyan';
    case 'failed':
      return 'red';
    default:
      return 'yellow';
  }
}

/** "in about 12m 00s"; a start that should have been is due "at any moment". */
export function expectedStart(expectedStartMs: number, nowMs: number): string {
  const seconds = (expectedStartMs - nowMs) / 1000;
  return seconds < 1 ? 'at any moment' : `in about ${duration(seconds)}`;
}

/** "It is number 3 in the queue and starts in about 12m 00s: it waits for 2 more workers …". */
export function queueSentence({ queuePosition, expectedStartMs, reason }: RunView, nowMs: number): string {
  const position = queuePosition === null ? 'It is queued' : `It is number ${queuePosition} in the queue`;
  const start = expectedStartMs === null ? '' : ` and starts ${expectedStart(expectedStartMs, nowMs)}`;
  return `${position}${start}: ${reason}.`;
}

/** The folder of the newest checkpoint of a run that has one. */
export function checkpointPath({ directory, checkpointStep }: RunView): string {
  return join(directory, 'checkpoints', `step-${checkpointStep.toString().padStart(8, '0')}`);
}

/**
 * What a person can do with a run of this status: commands and their effects.
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
          `go on from ${run.checkpointStep > 0 ? `step ${run.checkpointStep}` : 'the start'} once the cause is removed`,
        ],
      ];
    case 'queued':
      return [
        [`queue`, 'see the runs before it'],
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

/** The suggestions under a headline. @param weft the name of the command, as the person types it */
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
