import { systemClock, WeftError } from '@weft/common';
import type { LogEntry, LogReader } from '../event-log.js';
import type { RedisClient } from './connect-redis.js';
import type { RedisKeys } from './redis-keys.js';
import type { RedisLink } from './redis-link.js';

const PAGE = 500;
/** How long a follower's connection waits for news in one go. */
const BLOCK_MS = 5000;
const RETRY_MS = 200;

/** What `XRANGE` and `XREAD` answer: ids and fields. */
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

  /** The place of the last record of this moment; 0 when there is no log. */
  async lastSequence(): Promise<number> {
    const [newest] = await this.#link.run((client) => client.xrevrange(this.#key, '+', '-', 'COUNT', 1));
    return newest === undefined ? 0 : entryOf(newest).sequence;
  }

  async *read(fromSequence = 1): AsyncGenerator<LogEntry> {
    const last = await this.lastSequence();
    if (last === 0) throw new WeftError('not_found', `there is no event log ${this.#name} in ${this.#link.place}`);
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
          cure: 'restore Redis from a copy of its files',
        });
      }
    }
  }

  async *subscribe(fromSequence: number, signal: AbortSignal): AsyncGenerator<LogEntry> {
    const stop = AbortSignal.any([signal, this.#link.closed]);
    if (stop.aborted) return;
    const client = await this.#link.openOther();
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
      this.#link.closeOther(client);
    }
  }

  /** The next entries after a sequence; none after a while, or while Redis is away. */
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
