import { randomUUID } from 'node:crypto';
import { type Append, AppendQueue, wrongSequence } from '../append-queue.js';
import { toJson } from '../as-json.js';
import type { EventLog, LogEntry } from '../event-log.js';
import type { RedisKeys } from './redis-keys.js';
import type { RedisLink } from './redis-link.js';
import { RedisLogReader } from './redis-log-reader.js';
import { APPEND } from './redis-scripts.js';
import { runScript } from './run-script.js';

export interface RedisEventLogOptions {
  readonly link: RedisLink;
  readonly keys: RedisKeys;
  readonly name: string;
  /** Of the lease it is opened under. */
  readonly token: number;
}

/** A log in Redis for its writer. */
export class RedisEventLog implements EventLog {
  readonly repaired = undefined;
  readonly #reader: RedisLogReader;
  readonly #appends: AppendQueue<readonly string[]>;

  static async open(options: RedisEventLogOptions): Promise<RedisEventLog> {
    const reader = new RedisLogReader(options.link, options.keys, options.name);
    return new RedisEventLog(options, reader, await reader.lastSequence());
  }

  private constructor(options: RedisEventLogOptions, reader: RedisLogReader, lastSequence: number) {
    const name = `the event log ${options.name}`;
    const write = (expected: number, appends: readonly Append<readonly string[]>[]) =>
      append(
        options,
        name,
        expected,
        appends.flatMap(({ text }) => text),
      );
    this.#reader = reader;
    this.#appends = new AppendQueue<readonly string[]>({
      name,
      lastSequence,
      format: (_, records) => records.map((record) => toJson(record)),
      write,
    });
  }

  get lastSequence(): number {
    return this.#appends.lastSequence;
  }

  async *read(fromSequence?: number): AsyncGenerator<LogEntry> {
    // A log that was opened and not yet written is empty; Redis does not tell it from none.
    if (this.lastSequence > 0) yield* this.#reader.read(fromSequence);
  }

  subscribe(fromSequence: number, signal: AbortSignal): AsyncGenerator<LogEntry> {
    return this.#reader.subscribe(fromSequence, signal);
  }

  append(expectedSequence: number, records: readonly unknown[]): Promise<number> {
    return this.#appends.append(expectedSequence, records);
  }

  async close(): Promise<void> {
    await this.#appends.close();
  }
}

async function append(
  { link, keys, name, token }: RedisEventLogOptions,
  title: string,
  expected: number,
  records: readonly string[],
): Promise<void> {
  const words = [token, name, expected, randomUUID(), ...records];
  const answer = await link.run((client) =>
    runScript(client, APPEND, [keys.token, keys.log(name), keys.logNames], words),
  );
  const [outcome, last] = Array.isArray(answer) ? answer : [];
  if (outcome === -1) throw wrongSequence(title, Number(last), expected);
}
