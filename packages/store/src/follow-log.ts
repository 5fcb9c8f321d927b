import { stat } from 'node:fs/promises';
import { systemClock } from '@weft/common';
import type { LogEntry } from './event-log.js';
import { logLines } from './scan-log.js';

const POLL_MS = 100;

/**
 * The records of a log file from `fromSequence` on, and the later ones as another process appends them. Waits for a file
 * that is not there yet; ends when `signal` aborts. Looks at the file ten times a second: file systems that are shared
 * between machines report no changes. `lastSequence` holds back what its writer does not know to be on the disk yet.
 */
export async function* followLogFile(
  path: string,
  fromSequence: number,
  signal: AbortSignal,
  lastSequence = () => Number.POSITIVE_INFINITY,
): AsyncGenerator<LogEntry> {
  let offset = 0;
  let next = 1;
  while (!signal.aborted) {
    if ((await sizeOf(path)) > offset) {
      let append: LogEntry[] = [];
      for await (const line of logLines(path, offset, next)) {
        if (line.torn || line.last > lastSequence()) break;
        append.push({ sequence: line.sequence, record: line.record });
        if (line.sequence !== line.last) continue;
        offset = line.end;
        next = line.sequence + 1;
        for (const entry of append) {
          if (entry.sequence >= fromSequence) yield entry;
          if (signal.aborted) return;
        }
        append = [];
      }
    }
    await systemClock.sleep(POLL_MS, signal).catch(() => {});
  }
}

const sizeOf = (path: string) =>
  stat(path).then(
    ({ size }) => size,
    () => 0,
  );
