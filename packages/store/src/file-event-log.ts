import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { WeftError } from '@weft/common';
import type { EventLog, LogEntry } from './event-log.js';
import { followLogFile } from './follow-log.js';
import { formatLines } from './log-line.js';
import { ProcessLock } from './process-lock.js';
import { readLogFile, type SoundPart, scanLog } from './scan-log.js';
import { syncDirectory } from './write-json-file.js';

interface PendingAppend {
  readonly text: string;
  readonly lastSequence: number;
  readonly resolve: (lastSequence: number) => void;
  readonly reject: (error: WeftError) => void;
}

export interface FileEventLogOptions {
  /** Asked before every write; throws when this process may not write any more. */
  readonly fence?: () => Promise<void>;
}

/**
 * An event log in one file of JSON lines, for one process at a time. An append is on disk (fsync) before it is
 * acknowledged; appends that wait for the disk share one write. A crash leaves at most the last append torn: opening
 * the log cuts it off, since nobody was told that it had been written.
 */
export class FileEventLog implements EventLog {
  readonly path: string;
  /** What opening had to repair, one sentence for people; undefined when the file was sound. */
  readonly repaired: string | undefined;
  readonly #file: FileHandle;
  readonly #lock: ProcessLock;
  readonly #fence: () => Promise<void>;
  #lastSequence: number;
  #bytes: number;
  #pending: PendingAppend[] = [];
  #writing: Promise<void> | undefined;
  /** The last sequence of the batch on its way to the disk. */
  #inFlight: number | undefined;
  #failure: WeftError | undefined;

  private constructor(path: string, file: FileHandle, lock: ProcessLock, fence: () => Promise<void>, sound: SoundPart) {
    this.path = path;
    this.#file = file;
    this.#lock = lock;
    this.#fence = fence;
    this.#lastSequence = sound.lastSequence;
    this.#bytes = sound.bytes;
    this.repaired =
      sound.tornBytes === 0
        ? undefined
        : `cut ${sound.tornBytes} bytes of an unfinished write off the end of ${path}, after record ${sound.lastSequence}`;
  }

  /**
   * Opens the log, or makes it with its folder.
   *
   * @throws WeftError `failed_precondition` when another process has it open, `corrupt_data` with file and line when a
   * line before the end is damaged.
   */
  static async open(path: string, { fence = async () => {} }: FileEventLogOptions = {}): Promise<FileEventLog> {
    const absolute = resolve(path);
    await mkdir(dirname(absolute), { recursive: true });
    const lock = await ProcessLock.acquire(`${absolute}.lock`, `the event log ${absolute}`);
    let file: FileHandle | undefined;
    try {
      file = await open(absolute, 'a');
      await syncDirectory(dirname(absolute));
      const sound = await scanLog(absolute);
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
    return this.#lastSequence;
  }

  async *read(fromSequence = 1): AsyncGenerator<LogEntry> {
    const last = this.#lastSequence;
    if (fromSequence > last) return;
    for await (const entry of readLogFile(this.path)) {
      if (entry.sequence >= fromSequence) yield entry;
      if (entry.sequence === last) return;
    }
  }

  subscribe(fromSequence: number, signal: AbortSignal): AsyncGenerator<LogEntry> {
    return followLogFile(this.path, fromSequence, signal, () => this.#lastSequence);
  }

  async append(expectedSequence: number, records: readonly unknown[]): Promise<number> {
    if (this.#failure !== undefined) throw this.#failure;
    const last = this.#pending.at(-1)?.lastSequence ?? this.#inFlight ?? this.#lastSequence;
    if (expectedSequence !== last) {
      throw new WeftError(
        'failed_precondition',
        `the event log ${this.path} stands at ${last}, but the writer expected ${expectedSequence}`,
        { cure: 'read the log again before writing' },
      );
    }
    if (records.length === 0) return last;
    const text = this.#format(last + 1, records);
    return new Promise((resolve, reject) => {
      this.#pending.push({ text, lastSequence: last + records.length, resolve, reject });
      this.#writing ??= this.#writeAll().finally(() => {
        this.#writing = undefined;
      });
    });
  }

  async close(): Promise<void> {
    await this.#writing;
    if (this.#failure?.code === 'cancelled') return;
    this.#failure = new WeftError('cancelled', `the event log ${this.path} is closed`);
    await this.#file.close();
    await this.#lock.release();
  }

  async #writeAll(): Promise<void> {
    while (this.#pending.length > 0) {
      const batch = this.#pending;
      this.#pending = [];
      this.#inFlight = batch.at(-1)?.lastSequence;
      try {
        await this.#write(batch);
        for (const { lastSequence, resolve } of batch) resolve(lastSequence);
      } catch (cause) {
        const error = WeftError.is(cause) ? cause : await this.#backOut(cause);
        for (const { reject } of [...batch, ...this.#pending]) reject(error);
        this.#pending = [];
      }
      this.#inFlight = undefined;
    }
  }

  async #write(batch: readonly PendingAppend[]): Promise<void> {
    await this.#fence();
    const bytes = Buffer.from(batch.map(({ text }) => text).join(''));
    await this.#file.appendFile(bytes);
    await this.#file.datasync();
    this.#bytes += bytes.length;
    this.#lastSequence = batch.at(-1)?.lastSequence ?? this.#lastSequence;
  }

  /** Takes half-written lines back, so that the next append does not stand behind them. */
  async #backOut(cause: unknown): Promise<WeftError> {
    const reason = WeftError.from(cause).message;
    try {
      await this.#file.truncate(this.#bytes);
      await this.#file.sync();
      return new WeftError('unavailable', `the event log ${this.path} cannot be written: ${reason}`, {
        cure: 'free space on its disk, then try again',
        cause,
      });
    } catch {
      this.#failure = new WeftError('unavailable', `the event log ${this.path} cannot be written: ${reason}`, {
        cure: 'see to its disk, then start the process again',
        cause,
      });
      return this.#failure;
    }
  }

  #format(firstSequence: number, records: readonly unknown[]): string {
    try {
      return formatLines(firstSequence, records);
    } catch (cause) {
      const reason = WeftError.from(cause).message;
      throw new WeftError('invalid_argument', `a record for the event log ${this.path} is not JSON: ${reason}`, {
        cause,
      });
    }
  }
}
