import { randomUUID } from 'node:crypto';
import { systemClock, WeftError } from '@weft/common';
import { type Append, AppendQueue, wrongSequence } from '../append-queue.js';
import { toJson } from '../as-json.js';
import type { EventLog, LogEntry, LogMark, LogReader } from '../event-log.js';
import { forgotten } from './redis-errors.js';
import type { RedisKeys } from './redis-keys.js';
import type { RedisClient, RedisLink } from './redis-link.js';
import { APPEND, runScript } from './redis-scripts.js';

/** What a log in Redis needs for writing. */
export interface RedisEventLogOptions {
  readonly link: RedisLink;
  readonly keys: RedisKeys;
  readonly name: string;
  /** Of the lease under which it is opened. */
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
    // In Redis a log that was opened and not yet written does not exist.
    if (this.lastSequence > 0) yield* this.#reader.read(fromSequence);
  }

  readOn(mark: LogMark | undefined, take: (record: unknown) => void): Promise<LogMark | undefined> {
    return this.#reader.readOn(mark, take);
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
  if (outcome !== -1) return;
  // A log has one writer, which knows its end: where it is shorter, Redis came back without a part of it.
  if (Number(last) < expected)
    throw forgotten(link.displayName, `the records ${Number(last) + 1} to ${expected} of ${title}`);
  throw wrongSequence(title, Number(last), expected);
}

const PAGE = 500;
/** How long one call of a follower waits for new records. */
const BLOCK_MS = 5000;
const RETRY_MS = 200;

/** The answer of `XRANGE` and `XREAD`: ids and fields. */
type StreamEntry = readonly [id: string, fields: readonly string[]];

/** A log in a Redis stream: record n has the id `n-0` and its JSON in the field `record`. */
export class RedisLogReader implements LogReader {
  readonly #link: RedisLink;
  readonly #key: string;
  readonly #name: string;

  constructor(link: RedisLink, keys: RedisKeys, name: string) {
    this.#link = link;
    this.#key = keys.log(name);
    this.#name = name;
  }

  /** The sequence of the last record now; 0 when there is no log. */
  async lastSequence(): Promise<number> {
    const [newest] = await this.#link.run((client) => client.xrevrange(this.#key, '+', '-', 'COUNT', 1));
    return newest === undefined ? 0 : entryOf(newest).sequence;
  }

  async *read(fromSequence = 1): AsyncGenerator<LogEntry> {
    const last = await this.lastSequence();
    if (last === 0)
      throw new WeftError('not_found', `there is no event log ${this.#name} in ${this.#link.displayName}`);
    for (let next = Math.max(1, fromSequence); next <= last; ) {
      const end = Math.min(last, next + PAGE - 1);
      const page = await this.#link.run((client) => client.xrange(this.#key, `${next}-0`, `${end}-0`));
      for (const entry of page) {
        const { sequence, record } = entryOf(entry);
        if (sequence !== next) break;
        yield { sequence, record };
        next++;
      }
      if (next <= end) {
        throw new WeftError('corrupt_data', `record ${next} of the event log ${this.#name} is missing in Redis`, {
          hint: 'restore Redis from a copy of its files',
        });
      }
    }
  }

  async readOn(mark: LogMark | undefined, take: (record: unknown) => void): Promise<LogMark | undefined> {
    if (mark !== undefined && (await this.#recordAt(mark.sequence)) !== mark.tail) return undefined;
    let sequence = mark?.sequence ?? 0;
    for await (const entry of this.read(sequence + 1)) {
      take(entry.record);
      sequence = entry.sequence;
    }
    return { sequence, bytes: 0, tail: await this.#recordAt(sequence) };
  }

  /** The text of a record; empty when there is none. */
  async #recordAt(sequence: number): Promise<string> {
    const id = `${sequence}-0`;
    const [entry] = await this.#link.run((client) => client.xrange(this.#key, id, id));
    return entry?.[1][1] ?? '';
  }

  async *subscribe(fromSequence: number, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const stop = AbortSignal.any([signal, this.#link.closed]);
    if (stop.aborted) return;
    const client = await this.#link.openBlocking();
    const interrupt = () => client.disconnect();
    stop.addEventListener('abort', interrupt, { once: true });
    try {
      for (let next = Math.max(1, fromSequence); !stop.aborted; ) {
        for (const entry of await this.#news(client, next - 1, stop)) {
          if (stop.aborted) return;
          const { sequence, record } = entryOf(entry);
          next = sequence + 1;
          yield { sequence, record };
        }
      }
    } finally {
      stop.removeEventListener('abort', interrupt);
      this.#link.closeBlocking(client);
    }
  }

  /** The next entries after a sequence; none after a while, or while Redis does not answer. */
  async #news(client: RedisClient, after: number, stop: AbortSignal): Promise<readonly StreamEntry[]> {
    try {
      const answer = await client.xread('COUNT', PAGE, 'BLOCK', BLOCK_MS, 'STREAMS', this.#key, `${after}-0`);
      return answer?.[0]?.[1] ?? [];
    } catch {
      await systemClock.sleep(RETRY_MS, stop).catch(() => {});
      return [];
    }
  }
}

/** A stream entry as the record it holds. */
function entryOf([id, [, text = 'null']]: StreamEntry): LogEntry {
  const record: unknown = JSON.parse(text);
  return { sequence: Number.parseInt(id, 10), record };
}
