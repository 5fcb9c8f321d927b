import { systemClock, WeftError } from '@weft/common';
import type { StoreHealth } from '../store.js';
import { backOffMs, createRedisClient, type RedisClient } from './connect-redis.js';
import { isAway, redisError } from './redis-errors.js';
import type { RedisTarget } from './redis-url.js';

/** How long one attempt to reach Redis may take at first without a word of it. */
const FIRST_ANSWER_MS = 2000;

/** Why there is no connection where nothing says so. */
const SILENT: Readonly<Record<RedisTarget['kind'], string>> = {
  single: 'connect timed out',
  sentinel: 'connect timed out',
  cluster: 'connect timed out, or not all of its slots are served (redis-cli CLUSTER INFO)',
};

export interface FirstContact {
  /** How long to try; 0: once. */
  readonly timeoutMs: number;
  /** Told once why it cannot be reached, when it is tried again. */
  readonly onTrying?: ((error: WeftError) => void) | undefined;
}

/** How often a call that waits looks whether the connection is back. */
const LOOK_MS = 20;

/**
 * The connection of a store. It comes back by itself after every loss, and says so; `run` carries calls over such a time.
 */
export class RedisLink {
  /** For people, without secrets. */
  readonly place: string;
  readonly client: RedisClient;
  readonly #target: RedisTarget;
  readonly #closing = new AbortController();
  readonly #listeners = new Set<(health: StoreHealth) => void>();
  readonly #others = new Set<RedisClient>();
  #health: StoreHealth = { answers: true };
  #lastError: unknown;

  /**
   * @throws WeftError `unavailable` when Redis does not answer in time, `failed_precondition` when it refuses us.
   */
  static async connect(target: RedisTarget, options: FirstContact): Promise<RedisLink> {
    const link = new RedisLink(target);
    try {
      await link.#firstContact(options);
      return link;
    } catch (thrown) {
      link.close();
      throw redisError(thrown, target.place);
    }
  }

  private constructor(target: RedisTarget) {
    this.#target = target;
    this.place = target.place;
    this.client = createRedisClient(target);
    this.client.on('error', (error: unknown) => {
      this.#lastError = error;
    });
    this.client.on('close', () => this.#setAway(this.#lastError ?? new Error('the connection is closed')));
    this.client.on('ready', () => this.#setPresent());
  }

  get health(): StoreHealth {
    return this.#health;
  }

  watchHealth(listener: (health: StoreHealth) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Carries out a call, again and again while Redis is away. Give it only what may be repeated: an answer can get lost
   * after the call was carried out.
   *
   * @throws WeftError what Redis answered, `cancelled` after `close` or when `signal` aborts.
   */
  async run<T>(call: (client: RedisClient) => Promise<T>, signal?: AbortSignal): Promise<T> {
    const stop = signal === undefined ? this.#closing.signal : AbortSignal.any([signal, this.#closing.signal]);
    for (let attempt = 1; ; attempt++) {
      while (this.client.status !== 'ready') await systemClock.sleep(LOOK_MS, stop);
      if (stop.aborted) throw new WeftError('cancelled', 'the store is closed');
      try {
        const answer = await call(this.client);
        this.#setPresent();
        return answer;
      } catch (thrown) {
        if (stop.aborted) throw new WeftError('cancelled', 'the store is closed');
        if (!isAway(thrown)) throw redisError(thrown, this.place);
        this.#setAway(thrown);
        await systemClock.sleep(backOffMs(attempt), stop);
      }
    }
  }

  /** A connection of its own, for calls that block. */
  async openOther(): Promise<RedisClient> {
    const other = createRedisClient(this.#target);
    other.on('error', () => {});
    this.#others.add(other);
    await other.connect().catch(() => {});
    return other;
  }

  closeOther(other: RedisClient): void {
    this.#others.delete(other);
    other.disconnect();
  }

  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  close(): void {
    this.#closing.abort();
    for (const client of [this.client, ...this.#others]) client.disconnect();
  }

  async #firstContact({ timeoutMs, onTrying }: FirstContact): Promise<void> {
    const deadlineMs = systemClock.monotonicMs() + timeoutMs;
    let failed: unknown;
    let isTold = false;
    this.client.connect().catch((thrown: unknown) => {
      failed = thrown;
    });
    while (this.client.status !== 'ready') {
      const nowMs = systemClock.monotonicMs();
      const reason = this.#lastError ?? failed;
      if (reason !== undefined && (nowMs >= deadlineMs || !isAway(reason))) throw reason;
      if (nowMs >= deadlineMs + FIRST_ANSWER_MS) throw new Error(SILENT[this.#target.kind]);
      if (reason !== undefined && !isTold) onTrying?.(redisError(reason, this.place));
      isTold ||= reason !== undefined;
      await systemClock.sleep(LOOK_MS);
    }
  }

  #setAway(thrown: unknown): void {
    if (!this.#health.answers || this.#closing.signal.aborted) return;
    this.#set({ answers: false, sinceMs: systemClock.nowMs(), error: redisError(thrown, this.place) });
  }

  #setPresent(): void {
    this.#lastError = undefined;
    if (!this.#health.answers) this.#set({ answers: true });
  }

  #set(health: StoreHealth): void {
    this.#health = health;
    for (const listener of this.#listeners) listener(health);
  }
}
