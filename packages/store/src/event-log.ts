/** One entry of a log: its place, from 1, and what was appended. */
export interface LogEntry {
  readonly sequence: number;
  /** Any JSON value. */
  readonly record: unknown;
}

/**
 * A durable, ordered list of records with one writer. Everything a coordinator must not forget goes through it.
 * The port; `FileEventLog` is the adapter for one machine.
 */
export interface EventLog {
  /** The place of the last durable record; 0 when the log is empty. */
  readonly lastSequence: number;
  /** The durable records from `fromSequence` (default 1) to the last one of this moment, in order. */
  read(fromSequence?: number): AsyncIterable<LogEntry>;
  /**
   * Appends all of the records, or none. Resolves to the place of the last one once they are on disk.
   *
   * @param expectedSequence the last sequence the writer knows; 0 for an empty log.
   * @throws WeftError `failed_precondition` when the log has gone on since (nothing is written), `unavailable` when the
   * disk refused; the log is then as it was, or says that it must be opened anew.
   */
  append(expectedSequence: number, records: readonly unknown[]): Promise<number>;
  /** Waits for what is being written and lets go of the log. */
  close(): Promise<void>;
}
