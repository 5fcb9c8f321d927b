import type { WeftError } from '@weft/common';
import { checkLogName, type EventLog, type LogReader } from '../event-log.js';
import type { JobQueue } from '../job-queue.js';
import type { AcquiredLease } from '../lease.js';
import type { Store, StoreHealth } from '../store.js';
import { checkServer, type ServerFacts } from './check-server.js';
import { RedisEventLog, RedisLogReader } from './redis-event-log.js';
import type { RedisJobQueue } from './redis-job-queue.js';
import { RedisKeys } from './redis-keys.js';
import { RedisLease } from './redis-lease.js';
import { RedisLink } from './redis-link.js';
import { parseRedisUrl } from './redis-url.js';

/** Where a store in Redis is, and how long its leases last. */
export interface RedisStoreOptions {
  readonly url: string;
  readonly keyPrefix: string;
  readonly leaseMs: number;
  readonly connectTimeoutMs: number;
  readonly onConnectRetry?: ((error: WeftError) => void) | undefined;
}

/** A store in Redis, for any number of machines. */
export class RedisStore implements Store {
  readonly description: string;
  readonly warnings: readonly string[];
  readonly lease: RedisLease;
  readonly #link: RedisLink;
  readonly #keys: RedisKeys;
  #queue: RedisJobQueue | undefined;

  /** @throws WeftError when the URL is wrong, or Redis does not answer, refuses the connection or is unfit. */
  static async open({
    url,
    keyPrefix,
    leaseMs,
    connectTimeoutMs,
    onConnectRetry,
  }: RedisStoreOptions): Promise<RedisStore> {
    const keys = new RedisKeys(keyPrefix);
    const target = parseRedisUrl(url);
    const link = await RedisLink.connect(target, { timeoutMs: connectTimeoutMs, onConnectRetry });
    try {
      return new RedisStore(link, keys, await checkServer(link.client, target), leaseMs);
    } catch (thrown) {
      link.close();
      throw thrown;
    }
  }

  private constructor(link: RedisLink, keys: RedisKeys, facts: ServerFacts, leaseMs: number) {
    this.description = `${facts.name} at ${link.displayName}`;
    this.warnings = facts.warnings;
    this.lease = new RedisLease(link, keys, leaseMs);
    this.#link = link;
    this.#keys = keys;
  }

  get health(): StoreHealth {
    return this.#link.health;
  }

  watchHealth(listener: (health: StoreHealth) => void): () => void {
    return this.#link.watchHealth(listener);
  }

  log(name: string): LogReader {
    return new RedisLogReader(this.#link, this.#keys, checkLogName(name));
  }

  logNames(): Promise<readonly string[]> {
    return this.#link.run((client) => client.smembers(this.#keys.logNames));
  }

  async openLog(name: string, { token }: AcquiredLease): Promise<EventLog> {
    checkLogName(name);
    await this.lease.check(token);
    return RedisEventLog.open({ link: this.#link, keys: this.#keys, name, token });
  }

  async openQueue({ token }: AcquiredLease): Promise<JobQueue> {
    await this.lease.check(token);
    // Who only reads logs does not wait for BullMQ to load.
    const { RedisJobQueue } = await import('./redis-job-queue.js');
    this.#queue = await RedisJobQueue.open(this.#link, this.#keys, token);
    return this.#queue;
  }

  async close(): Promise<void> {
    this.#link.close();
    await this.#queue?.close();
  }
}
