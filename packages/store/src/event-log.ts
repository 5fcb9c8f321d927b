import { WeftError } from '@weft/common';

/** One entry of a log: its sequence, from 1, and the record. */
export interface LogEntry {
  readonly sequence: number;
  /** Any JSON value. */
  readonly record: unknown;
}

/** A place between two records of a log, and what stands before it, by which another log is told apart. JSON-serialisable. */
export interface LogMark {
  /** Of the record before it; 0 at the beginning. */
  readonly sequence: number;
  /** Of a file, its bytes up to there; 0 of a log that is no file. */
  readonly bytes: number;
  /** The end of what stands before it. */
  readonly tail: string;
}

/** Reading needs no lease: any number of processes may do it while one writes. */
export interface LogReader {
  /**
   * The durable records from `fromSequence` (default 1) to the last one there is now, in order.
   *
   * @throws WeftError `not_found` when there is no such log, `corrupt_data` when it is damaged.
   */
  read(fromSequence?: number): AsyncIterable<LogEntry>;
  /**
   * Takes every durable record after a mark, in order; without a mark every record. What stands before the mark is not read.
   *
   * @returns the mark after the last record; undefined when the log is not the one of the mark, and then nothing was taken.
   * @throws as `read`
   */
  readOn(mark: LogMark | undefined, take: (record: unknown) => void): Promise<LogMark | undefined>;
  /**
   * The durable records from `fromSequence` on, then every later one as it is appended, each once and in order, until
   * `signal` aborts. It waits for a log that does not exist yet, and for a store that does not answer.
   */
  subscribe(fromSequence: number, signal: AbortSignal): AsyncIterable<LogEntry>;
}

/**
 * A durable, ordered list of records with one writer. Everything a coordinator must not forget goes through it.
 * The adapters keep it in a file (`FileEventLog`) or in a Redis stream.
 */
export interface EventLog extends LogReader {
  /** The sequence of the last durable record; 0 when the log is empty. */
  readonly lastSequence: number;
  /** What opening had to repair, one sentence; undefined when the log was sound. */
  readonly repaired: string | undefined;
  /**
   * Appends all of the records, or none. Resolves to the sequence of the last one once they are durable. Waits while the
   * store does not answer; an append whose answer was lost is recognised and not made twice.
   *
   * @param expectedSequence the last sequence the writer knows; 0 for an empty log.
   * @throws WeftError `failed_precondition` when the log is longer, or when another process has the lease now (nothing is
   * written); `unavailable` when the disk refused. The log is then as it was, or the error says that it must be opened again.
   */
  append(expectedSequence: number, records: readonly unknown[]): Promise<number>;
  /** Waits for the current write and closes the log. */
  close(): Promise<void>;
}

/** Checks that a name can be the name of a folder and part of a key. @throws WeftError `invalid_argument` */
export function checkLogName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) return name;
  throw new WeftError('invalid_argument', `${JSON.stringify(name)} cannot be the name of a log`);
}
