import type { RunView } from '@weft/contracts';
import { expectedStart } from './expected-start.js';

/** "It is number 3 in the queue and starts in about 12m 00s: it waits for 2 more workers …". */
export function queueSentence({ queuePosition, expectedStartMs, reason }: RunView, nowMs: number): string {
  const position = queuePosition === null ? 'It is queued' : `It is number ${queuePosition} in the queue`;
  const start = expectedStartMs === null ? '' : ` and starts ${expectedStart(expectedStartMs, nowMs)}`;
  return `${position}${start}: ${reason}.`;
}
