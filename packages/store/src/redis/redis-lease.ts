import { systemClock, WeftError } from '@weft/common';
import type { AcquireOptions, Held, Lease } from '../lease.js';
import { LONGEST_RETRY_MS, type RedisClient } from './connect-redis.js';
import { leaseLost } from './redis-errors.js';
import { type Holder, isDead, parseHolder, thisHolder } from './redis-holder.js';
import type { RedisKeys } from './redis-keys.js';
import type { RedisLink } from './redis-link.js';
import { ACQUIRE, RELEASE, RENEW } from './redis-scripts.js';
import { runScript } from './run-script.js';

/** A holder extends its lease this many times before it lapses. */
const RENEWALS = 3;
const RETRY_MS = 200;
/** After Redis was away, a holder that lives is back and has renewed its lease within this time. */
const RETURN_MS = 1.5 * LONGEST_RETRY_MS;

/**
 * The lease in Redis: a counter, the fencing token, and a key that expires when its holder is not heard of. A holder that
 * comes back late goes on when nobody took over meanwhile; the token tells.
 */
export class RedisLease implements Lease {
  readonly #link: RedisLink;
  readonly #keys: RedisKeys;
  readonly #leaseMs: number;
  /** When Redis was back after it had been away, on the monotonic clock. */
  #backMs = Number.NEGATIVE_INFINITY;

  /** @param leaseMs how long it holds without a sign of its holder. */
  constructor(link: RedisLink, keys: RedisKeys, leaseMs: number) {
    this.#link = link;
    this.#keys = keys;
    this.#leaseMs = leaseMs;
    link.watchHealth(({ answers }) => {
      if (answers) this.#backMs = systemClock.monotonicMs();
    });
  }

  async acquire(name: string, { signal, onWaiting, waitMs }: AcquireOptions = {}): Promise<Held> {
    const me = await thisHolder(name);
    const deadlineMs = systemClock.monotonicMs() + (waitMs ?? Number.POSITIVE_INFINITY);
    let gone = '';
    let told = '';
    let known = '';
    // A lease that lapsed because Redis was away: its holder is given the time to renew it.
    const isPatient = () => known !== '' && systemClock.monotonicMs() < this.#backMs + RETURN_MS;
    for (;;) {
      const words = [JSON.stringify(me), gone, this.#leaseMs];
      const [token, text] = await this.#script(ACQUIRE, words, signal, () => isPatient() && [0, known]);
      if (typeof token === 'number' && token > 0) return this.#hold(me, token);
      known = String(text);
      const holder = parseHolder(known);
      if (gone === '' && (await isDead(holder))) {
        gone = known;
        continue;
      }
      gone = '';
      if (systemClock.monotonicMs() >= deadlineMs) throw inUse(this.#link.place, holder.name);
      if (holder.nonce !== told) onWaiting?.(holder.name);
      told = holder.nonce;
      await systemClock.sleep(RETRY_MS, signal);
    }
  }

  /** @throws WeftError `failed_precondition` when the token is not that of the lease any more. */
  async check(token: number): Promise<void> {
    const now = await this.#link.run((client) => client.get(this.#keys.token));
    if (now !== String(token)) throw leaseLost();
  }

  #hold(me: Holder, token: number): Held {
    const stop = new AbortController();
    const lost = new Promise<WeftError>((resolve) => {
      this.#renew(me, token, stop.signal).then(
        (error) => error !== undefined && resolve(error),
        (thrown: unknown) => stop.signal.aborted || this.#link.closed.aborted || resolve(WeftError.from(thrown)),
      );
    });
    const release = async () => {
      if (stop.signal.aborted) return;
      stop.abort();
      await this.#script(RELEASE, [token]);
    };
    return { token, lost, release };
  }

  /** Resolves to the reason when the lease is lost. */
  async #renew(me: Holder, token: number, stop: AbortSignal): Promise<WeftError | undefined> {
    const ended = AbortSignal.any([stop, this.#link.closed]);
    while (!stop.aborted) {
      await systemClock.sleep(this.#leaseMs / RENEWALS, ended);
      const [held, current, holder] = await this.#script(RENEW, [JSON.stringify(me), token, this.#leaseMs], stop);
      if (held === 1) continue;
      if (typeof current !== 'string') return forgotten(this.#link.place);
      return leaseLost(typeof holder === 'string' ? parseHolder(holder).name : undefined);
    }
    return undefined;
  }

  /** @param instead looked at before every attempt: an answer for which Redis is not asked. */
  async #script(
    script: typeof ACQUIRE,
    words: readonly (string | number)[],
    signal?: AbortSignal,
    instead: () => readonly unknown[] | false = () => false,
  ): Promise<readonly unknown[]> {
    const keys = [this.#keys.token, this.#keys.holder];
    const ask = async (client: RedisClient) => instead() || runScript(client, script, keys, words);
    const answer = await this.#link.run(ask, signal);
    return Array.isArray(answer) ? answer : [answer];
  }
}

const inUse = (place: string, holder: string) =>
  new WeftError('failed_precondition', `Redis at ${place} is in use by ${holder}`, {
    cure: 'stop that one, or choose another prefix for the keys',
  });

const forgotten = (place: string) =>
  new WeftError('corrupt_data', `Redis at ${place} has lost what was stored`, {
    cure: 'restore its files, set `appendonly yes` in redis.conf, and start again',
  });
