import { type FileHandle, open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { WeftError } from '@weft/common';
import { makeDirectory, ProcessLock, syncDirectory } from '@weft/files';
import { type Append, AppendQueue } from './append-queue.js';
import type { EventLog, LogEntry, LogMark } from './event-log.js';
import { followLogFile, formatLines, readLogFile, readLogFileOn, type SoundPart, scanLog } from './log-file.js';

/** Options of `FileEventLog.open`. */
export interface FileEventLogOptions {
  /** Called before every write; throws when this process may not write any more. */
  readonly fence?: () => Promise<void>;
  /** Up to where this process has read the log and found it sound; default: nothing is known. */
  readonly mark?: LogMark | undefined;
}

/**
 * An event log in one file of JSON lines, for one process at a time. An append is on disk (fsync) before it is
 * acknowledged; appends that wait for the disk share one write. A crash leaves at most the last append incomplete. It was
 * never acknowledged, so opening the log cuts it off.
 */
export class FileEventLog implements EventLog {
  readonly path: string;
  /** What opening had to repair, one sentence; undefined when the file was sound. */
  readonly repaired: string | undefined;
  readonly #file: FileHandle;
  readonly #lock: ProcessLock;
  readonly #fence: () => Promise<void>;
  readonly #appends: AppendQueue<string>;
  /** Bytes of the file up to the end of the last durable append. */
  #bytes: number;

  private constructor(path: string, file: FileHandle, lock: ProcessLock, fence: () => Promise<void>, sound: SoundPart) {
    this.path = path;
    this.#file = file;
    this.#lock = lock;
    this.#fence = fence;
    this.#appends = new AppendQueue({
      name: `the event log ${path}`,
      lastSequence: sound.lastSequence,
      format: formatLines,
      write: (_, appends) => this.#write(appends),
    });
    this.#bytes = sound.bytes;
    this.repaired =
      sound.tornBytes === 0
        ? undefined
        : `cut ${sound.tornBytes} bytes of an unfinished write off the end of ${path}, after record ${sound.lastSequence}`;
  }

  /**
   * Opens the log, or creates it with its folder.
   *
   * @throws WeftError `failed_precondition` when another process has it open, `corrupt_data` with file and line when a
   * line before the end is damaged.
   */
  static async open(path: string, { fence = async () => {}, mark }: FileEventLogOptions = {}): Promise<FileEventLog> {
    const absolute = resolve(path);
    await makeDirectory(dirname(absolute));
    const lock = await ProcessLock.acquire(`${absolute}.lock`, `the event log ${absolute}`);
    let file: FileHandle | undefined;
    try {
      file = await open(absolute, 'a');
      await syncDirectory(dirname(absolute));
      const sound = await scanLog(absolute, mark);
      if (sound.tornBytes > 0) {
        await file.truncate(sound.bytes);
        await file.sync();
      }
      return new FileEventLog(absolute, file, lock, fence, sound);
    } catch (error) {
      await file?.close();
      await lock.release();
      throw WeftError.from(error);
    }
  }

  get lastSequence(): number {
    return this.#appends.lastSequence;
  }

  async *read(fromSequence = 1): AsyncGenerator<LogEntry> {
    const last = this.lastSequence;
    if (fromSequence > last) return;
    for await (const entry of readLogFile(this.path)) {
      if (entry.sequence >= fromSequence) yield entry;
      if (entry.sequence === last) return;
    }
  }

  readOn(mark: LogMark | undefined, take: (record: unknown) => void): Promise<LogMark | undefined> {
    return readLogFileOn(this.path, mark, take);
  }

  subscribe(fromSequence: number, signal: AbortSignal): AsyncGenerator<LogEntry> {
    return followLogFile(this.path, fromSequence, signal, () => this.lastSequence);
  }

  append(expectedSequence: number, records: readonly unknown[]): Promise<number> {
    return this.#appends.append(expectedSequence, records);
  }

  async close(): Promise<void> {
    if (!(await this.#appends.close())) return;
    await this.#file.close();
    await this.#lock.release();
  }

  async #write(appends: readonly Append<string>[]): Promise<void> {
    await this.#fence();
    const bytes = Buffer.from(appends.map(({ text }) => text).join(''));
    try {
      await this.#file.appendFile(bytes);
      await this.#file.datasync();
    } catch (cause) {
      throw await this.#rollBack(cause);
    }
    this.#bytes += bytes.length;
  }

  /** Cuts off half-written lines before the next append. */
  async #rollBack(cause: unknown): Promise<WeftError> {
    const message = `the event log ${this.path} cannot be written: ${WeftError.from(cause).message}`;
    try {
      await this.#file.truncate(this.#bytes);
      await this.#file.sync();
      return new WeftError('unavailable', message, { hint: 'free space on its disk, then try again', cause });
    } catch {
      const hint = 'see to its disk, then start the process again';
      const error = new WeftError('unavailable', message, { hint, cause });
      this.#appends.fail(error);
      return error;
    }
  }
}
