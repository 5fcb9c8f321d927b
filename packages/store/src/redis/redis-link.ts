import { readFileSync } from 'node:fs';
import type { ConnectionOptions } from 'node:tls';
import { systemClock, WeftError } from '@weft/common';
import { Cluster, Redis, type RedisOptions } from 'ioredis';
import type { StoreHealth } from '../store.js';
import { isTransient, redisError } from './redis-errors.js';
import type { RedisTarget } from './redis-url.js';

/** How long the first attempt to reach Redis may take before `onConnectRetry` is called. */
const FIRST_ANSWER_MS = 2000;

/** The reason when the client gives none. */
const DEFAULT_REASON: Readonly<Record<RedisTarget['kind'], string>> = {
  single: 'connect timed out',
  sentinel: 'connect timed out',
  cluster: 'connect timed out, or not all of its slots are served (redis-cli CLUSTER INFO)',
};

/** How the first connection is made. */
export interface FirstConnectOptions {
  /** How long to try; 0: once. */
  readonly timeoutMs: number;
  /** Called once with the reason when the first attempt fails and is repeated. */
  readonly onConnectRetry?: ((error: WeftError) => void) | undefined;
}

/** How often a waiting call checks whether the connection is back. */
const STATUS_POLL_MS = 20;

/**
 * The connection of a store. It reconnects by itself after every loss, and `health` changes. `run` repeats calls meanwhile.
 */
export class RedisLink {
  /** For messages, without secrets. */
  readonly displayName: string;
  readonly client: RedisClient;
  readonly #target: RedisTarget;
  readonly #closing = new AbortController();
  readonly #listeners = new Set<(health: StoreHealth) => void>();
  readonly #blocking = new Set<RedisClient>();
  #health: StoreHealth = { isAvailable: true };
  #lastError: unknown;

  /**
   * @throws WeftError `unavailable` when Redis does not answer in time, `failed_precondition` when it refuses the connection.
   */
  static async connect(target: RedisTarget, options: FirstConnectOptions): Promise<RedisLink> {
    const link = new RedisLink(target);
    try {
      await link.#firstConnect(options);
      return link;
    } catch (thrown) {
      link.close();
      throw redisError(thrown, target.displayName);
    }
  }

  private constructor(target: RedisTarget) {
    this.#target = target;
    this.displayName = target.displayName;
    this.client = createRedisClient(target);
    this.client.on('error', (error: unknown) => {
      this.#lastError = error;
    });
    this.client.on('close', () => this.#markDown(this.#lastError ?? new Error('the connection is closed')));
    this.client.on('ready', () => this.#markUp());
  }

  get health(): StoreHealth {
    return this.#health;
  }

  watchHealth(listener: (health: StoreHealth) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Makes a call, and repeats it while Redis does not answer. Only for calls that may be repeated: an answer can be lost
   * after the call was executed.
   *
   * @throws WeftError the error that Redis answered; `cancelled` after `close` or when `signal` aborts.
   */
  async run<T>(call: (client: RedisClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const stop = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    for (let attempt = 1; ; attempt++) {
      while (this.client.status !== 'ready') await systemClock.sleep(STATUS_POLL_MS, stop);
      if (stop.aborted) throw new WeftError('cancelled', 'the store is closed');
      try {
        const answer = await call(this.client);
        this.#markUp();
        return answer;
      } catch (thrown) {
        if (stop.aborted) throw new WeftError('cancelled', 'the store is closed');
        if (!isTransient(thrown)) throw redisError(thrown, this.displayName);
        this.#markDown(thrown);
        await systemClock.sleep(backOffMs(attempt), stop);
      }
    }
  }

  /** A connection of its own, for calls that block. */
  async openBlocking(): Promise<RedisClient> {
    const other = createRedisClient(this.#target);
    other.on('error', () => {});
    this.#blocking.add(other);
    await other.connect().catch(() => {});
    return other;
  }

  closeBlocking(other: RedisClient): void {
    this.#blocking.delete(other);
    other.disconnect();
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  close(): void {
    this.#closing.abort();
    for (const client of [this.client, ...this.#blocking]) client.disconnect();
  }

  async #firstConnect({ timeoutMs, onConnectRetry }: FirstConnectOptions): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + timeoutMs;
    let failed: unknown;
    let isTold = false;
    this.client.connect().catch((thrown: unknown) => {
      failed = thrown;
    });
    while (this.client.status !== 'ready') {
      const nowMs = systemClock.monotonicMs();
      const reason = this.#lastError ?? failed;
      if (reason !== undefined && (nowMs >= deadlineMs || !isTransient(reason))) throw reason;
      if (nowMs >= deadlineMs + FIRST_ANSWER_MS) throw new Error(DEFAULT_REASON[this.#target.kind]);
      if (reason !== undefined && !isTold) onConnectRetry?.(redisError(reason, this.displayName));
      isTold ||= reason !== undefined;
      await systemClock.sleep(STATUS_POLL_MS);
    }
  }

  #markDown(thrown: unknown): void {
    if (!this.#health.isAvailable || this.#closing.signal.aborted) return;
    this.#setHealth({ isAvailable: false, sinceMs: systemClock.nowMs(), error: redisError(thrown, this.displayName) });
  }

  #markUp(): void {
    this.#lastError = undefined;
    if (!this.#health.isAvailable) this.#setHealth({ isAvailable: true });
  }

  #setHealth(health: StoreHealth): void {
    this.#health = health;
    for (const listener of this.#listeners) listener(health);
  }
}

/** A connection to one server, or to a cluster. */
export type RedisClient = Redis | Cluster;

const CONNECT_TIMEOUT_MS = 5000;
/** A server that is silent for so long is taken for dead. Longer than any blocking call. */
const SOCKET_TIMEOUT_MS = 12_000;
const FIRST_RETRY_MS = 10;
/** Between two attempts to reconnect. */
export const LONGEST_RETRY_MS = 2000;

/**
 * A client that is not connected yet and reconnects for ever. It repeats nothing: commands are rejected when the connection
 * breaks, and while there is none. Only the caller knows which may be repeated.
 */
function createRedisClient(target: RedisTarget): RedisClient {
  const { nodes, parameters, masterName, username, password, database } = target;
  const options = {
    ...{ username, password, db: database, tls: tlsOptions(target), connectionName: 'weft', lazyConnect: true },
    ...{ enableOfflineQueue: false, autoResendUnfulfilledCommands: false, maxRetriesPerRequest: 0 },
    ...{ connectTimeout: CONNECT_TIMEOUT_MS, socketTimeout: SOCKET_TIMEOUT_MS, retryStrategy: backOffMs },
    // After a connection that never opened, the client waits for its end, and keeps the process alive.
    disconnectTimeout: 50,
    // After a failover the old master may live on as a replica.
    reconnectOnError: (error: Error) => error.message.startsWith('READONLY'),
  } satisfies RedisOptions;
  if (target.kind === 'cluster') {
    return new Cluster([...nodes], {
      ...{ redisOptions: options, lazyConnect: true, enableOfflineQueue: false, clusterRetryStrategy: backOffMs },
      ...{ retryDelayOnFailover: 0, slotsRefreshTimeout: CONNECT_TIMEOUT_MS },
    });
  }
  if (target.kind === 'sentinel') {
    return new Redis({
      ...options,
      ...{ sentinels: nodes.map((node) => ({ ...node })), name: masterName, sentinelRetryStrategy: backOffMs },
      ...{ sentinelUsername: parameters.sentinelUsername, sentinelPassword: parameters.sentinelPassword },
      ...{ sentinelTLS: options.tls, enableTLSForSentinelMode: target.tls, failoverDetector: true },
    });
  }
  const [{ host, port } = { host: '127.0.0.1', port: 6379 }] = nodes;
  return new Redis({ ...options, host, port });
}

/** Doubles each time, with some randomness, so that many clients do not reconnect at once. */
function backOffMs(attempt: number): number {
  return Math.min(FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 16), LONGEST_RETRY_MS) * (0.75 + Math.random() / 4);
}

function tlsOptions({ tls, parameters: { ca, cert, key, servername } }: RedisTarget): ConnectionOptions | undefined {
  if (!tls) return undefined;
  return {
    ...(ca === undefined ? {} : { ca: readPem('ca', ca) }),
    ...(cert === undefined ? {} : { cert: readPem('cert', cert) }),
    ...(key === undefined ? {} : { key: readPem('key', key) }),
    ...(servername === undefined ? {} : { servername }),
  };
}

function readPem(parameter: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new WeftError(
      'invalid_argument',
      `${parameter} of the URL of Redis names a file that cannot be read: ${path}`,
      {
        cause,
      },
    );
  }
}
