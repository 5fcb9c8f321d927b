import { WeftError } from '@weft/common';

/** One entry of a log: its place, from 1, and what was appended. */
export interface LogEntry {
  readonly sequence: number;
  /** Any JSON value. */
  readonly record: unknown;
}

/** Reading needs no lease: any number of processes may do it while one writes. */
export interface LogReader {
  /**
   * The durable records from `fromSequence` (default 1) to the last one of this moment, in order.
   *
   * @throws WeftError `not_found` when there is no such log, `corrupt_data` when it is damaged.
   */
  read(fromSequence?: number): AsyncIterable<LogEntry>;
  /**
   * The durable records from `fromSequence` on, then every later one as it is appended, each once and in order, until
   * `signal` aborts: then it ends. It waits for a log that does not exist yet, and over a time the store is away.
   */
  subscribe(fromSequence: number, signal: AbortSignal): AsyncIterable<LogEntry>;
}

/**
 * A durable, ordered list of records with one writer. Everything a coordinator must not forget goes through it.
 * The port; its adapters keep it in a file (`FileEventLog`) or in a Redis stream.
 */
export interface EventLog extends LogReader {
  /** The place of the last durable record; 0 when the log is empty. */
  readonly lastSequence: number;
  /** What opening had to repair, one sentence for people; undefined when the log was sound. */
  readonly repaired: string | undefined;
  /**
   * Appends all of the records, or none. Resolves to the place of the last one once they are durable. While the store
   * is away it waits; an append whose answer got lost is found again and not made twice.
   *
   * @param expectedSequence the last sequence the writer knows; 0 for an empty log.
   * @throws WeftError `failed_precondition` when the log has gone on since, or when the lease it was opened under has
   * passed to another (nothing is written), `unavailable` when the disk refused; the log is then as it was, or says that
   * it must be opened anew.
   */
  append(expectedSequence: number, records: readonly unknown[]): Promise<number>;
  /** Waits for what is being written and lets go of the log. */
  close(): Promise<void>;
}

/** A name that is safe as the name of a folder and in a key. @throws WeftError `invalid_argument` */
export function checkLogName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) return name;
  throw new WeftError('invalid_argument', `${JSON.stringify(name)} cannot be the name of a log`);
}
