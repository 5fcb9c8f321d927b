import { access, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '@weft/files';
import { FileEventLog } from './file-event-log.js';
import { readLogFile } from './log-file.js';
import { applyChanges, asQueueChange, emptyQueue, type QueueChange, type QueueState } from './queue-state.js';
import { StoredQueue } from './stored-queue.js';

/** A file with this many more records than jobs is rewritten when it is opened. */
const RECORDS_TO_SPARE = 1000;

/** The queue in one file: a log of the changes, replayed when it is opened. */
export class FileJobQueue extends StoredQueue {
  readonly #log: FileEventLog;

  /** @param fence called before every write; throws when this process may not write any more */
  static async open(path: string, fence: () => Promise<void>): Promise<FileJobQueue> {
    const { state, records } = await readQueue(path);
    const kept = changesThatMake(state);
    if (records > kept.length + RECORDS_TO_SPARE) await replaceLog(path, kept);
    return new FileJobQueue(state, await FileEventLog.open(path, { fence }));
  }

  private constructor(state: QueueState, log: FileEventLog) {
    super(state);
    this.#log = log;
  }

  protected async write(changes: readonly QueueChange[]): Promise<void> {
    await this.#log.append(this.#log.lastSequence, changes);
  }

  protected async load(): Promise<QueueState> {
    return (await readQueue(this.#log.path)).state;
  }

  override async close(): Promise<void> {
    await super.close();
    await this.#log.close();
  }
}

async function readQueue(path: string): Promise<{ state: QueueState; records: number }> {
  const changes: QueueChange[] = [];
  if (
    await access(path).then(
      () => true,
      () => false,
    )
  )
    for await (const { record } of readLogFile(path)) changes.push(asQueueChange(record));
  return { state: applyChanges(emptyQueue, changes), records: changes.length };
}

const changesThatMake = ({ jobs, paused }: QueueState): QueueChange[] => [
  ...[...jobs.values()].map((job) => ({ kind: 'added', job }) as const),
  ...(paused ? [{ kind: 'paused', paused } as const] : []),
];

/** After a crash the file is the old one or the new one. */
async function replaceLog(path: string, changes: readonly QueueChange[]): Promise<void> {
  const temporary = `${path}.new`;
  await rm(temporary, { force: true });
  const log = await FileEventLog.open(temporary);
  await log.append(0, changes);
  await log.close();
  await rename(temporary, path);
  await syncDirectory(dirname(path));
}
