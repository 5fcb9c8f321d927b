import type { RunView } from '../runs/run-view.js';
import { expectedStart } from './expected-start.js';

/** "It is number 3 in the queue and starts in about 12m 00s: it waits for 2 more workers …". */
export function queueSentence({ queuePlace, expectedStartMs, reason }: RunView, nowMs: number): string {
  const place = queuePlace === 0 ? 'It is queued' : `It is number ${queuePlace} in the queue`;
  const start = expectedStartMs === 0 ? '' : ` and starts ${expectedStart(expectedStartMs, nowMs)}`;
  return `${place}${start}: ${reason}.`;
}
