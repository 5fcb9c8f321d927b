import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { systemErrorCode, WeftError } from '@weft/common';
import { checkLogName, type EventLog, type LogMark, type LogReader } from './event-log.js';
import { FileEventLog } from './file-event-log.js';
import { FileJobQueue } from './file-job-queue.js';
import { FileLease } from './file-lease.js';
import type { JobQueue } from './job-queue.js';
import type { AcquiredLease } from './lease.js';
import { followLogFile, readLogFile, readLogFileOn } from './log-file.js';
import type { Store, StoreHealth } from './store.js';

/**
 * A store in the files of a home, for one machine: `runs/<name>/events.jsonl`, `queue.jsonl`, `coordinator.lock` and
 * `lease.json`.
 */
export class FileStore implements Store {
  readonly description: string;
  readonly warnings = [];
  readonly lease: FileLease;
  readonly health: StoreHealth = { isAvailable: true };
  readonly #home: string;
  readonly #logs = new Map<string, FileEventLog>();
  /** Up to where logs were read, so that opening one does not read that part again. */
  readonly #marks = new Map<string, LogMark>();
  #queue: FileJobQueue | undefined;

  constructor(home: string) {
    this.#home = resolve(home);
    this.description = `files in ${this.#home}`;
    this.lease = new FileLease(this.#home);
  }

  log(name: string): LogReader {
    const path = this.#logPath(name);
    return {
      // `readLogFile` always reads from the start, because it checks every line.
      read: async function* (fromSequence = 1) {
        for await (const entry of readLogFile(path)) if (entry.sequence >= fromSequence) yield entry;
      },
      readOn: async (mark, take) => {
        const next = await readLogFileOn(path, mark, take);
        if (next !== undefined) this.#marks.set(name, next);
        return next;
      },
      subscribe: (fromSequence, signal) => followLogFile(path, fromSequence, signal),
    };
  }

  async logNames(): Promise<readonly string[]> {
    try {
      const entries = await readdir(join(this.#home, 'runs'), { withFileTypes: true });
      return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
    } catch (thrown) {
      // Not `isMissing`: a file in the place of the folder is an error.
      if (systemErrorCode(thrown) === 'ENOENT') return [];
      throw WeftError.from(thrown);
    }
  }

  async openLog(name: string, held: AcquiredLease): Promise<EventLog> {
    const fence = () => this.lease.check(held.token);
    await fence();
    const log = await FileEventLog.open(this.#logPath(name), { fence, mark: this.#marks.get(name) });
    this.#marks.delete(name);
    this.#logs.set(name, log);
    return log;
  }

  async openQueue(held: AcquiredLease): Promise<JobQueue> {
    const fence = () => this.lease.check(held.token);
    await fence();
    this.#queue = await FileJobQueue.open(join(this.#home, 'queue.jsonl'), fence);
    return this.#queue;
  }

  watchHealth(): () => void {
    return () => {};
  }

  async close(): Promise<void> {
    for (const log of this.#logs.values()) await log.close();
    await this.#queue?.close();
  }

  #logPath(name: string): string {
    return join(this.#home, 'runs', checkLogName(name), 'events.jsonl');
  }
}
