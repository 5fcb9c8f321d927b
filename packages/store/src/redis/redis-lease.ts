import { randomUUID } from 'node:crypto';
import { readFile, readlink } from 'node:fs/promises';
import { systemClock, WeftError } from '@weft/common';
import { isProcessAlive, startTicks } from '@weft/files';
import type { AcquiredLease, AcquireOptions, Lease } from '../lease.js';
import { leaseLost } from './redis-errors.js';
import type { RedisKeys } from './redis-keys.js';
import { LONGEST_RETRY_MS, type RedisClient, type RedisLink } from './redis-link.js';
import { ACQUIRE, RELEASE, RENEW, runScript } from './redis-scripts.js';

/** How many times a holder renews its lease before it would expire. */
const RENEWALS = 3;
const RETRY_MS = 200;
/** After Redis was down, a living holder has renewed its lease within this time. */
const RETURN_MS = 1.5 * LONGEST_RETRY_MS;

/**
 * The lease in Redis: a counter, the fencing token, and a key that expires without renewal. A holder that comes back late
 * goes on if the token is still its own.
 */
export class RedisLease implements Lease {
  readonly #link: RedisLink;
  readonly #keys: RedisKeys;
  readonly #leaseMs: number;
  /** When Redis last answered again after it was down, on the monotonic clock. */
  #backMs = Number.NEGATIVE_INFINITY;

  /** @param leaseMs how long it lasts without renewal */
  constructor(link: RedisLink, keys: RedisKeys, leaseMs: number) {
    this.#link = link;
    this.#keys = keys;
    this.#leaseMs = leaseMs;
    link.watchHealth(({ isAvailable }) => {
      if (isAvailable) this.#backMs = systemClock.monotonicMs();
    });
  }

  async acquire(name: string, { signal, onWaiting, waitMs }: AcquireOptions = {}): Promise<AcquiredLease> {
    const me = await thisHolder(name);
    const deadlineMs = systemClock.monotonicMs() + (waitMs ?? Number.POSITIVE_INFINITY);
    let gone = '';
    let told = '';
    let known = '';
    // The lease expired because Redis was down: its holder gets time to renew it.
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
      if (systemClock.monotonicMs() >= deadlineMs) throw inUse(this.#link.displayName, holder.name);
      if (holder.nonce !== told) onWaiting?.(holder.name);
      told = holder.nonce;
      await systemClock.sleep(RETRY_MS, signal);
    }
  }

  /** @throws WeftError `failed_precondition` when the lease has another token now. */
  async check(token: number): Promise<void> {
    const now = await this.#link.run((client) => client.get(this.#keys.token));
    if (now !== String(token))
      throw leaseLost(this.#link.displayName, { current: now ?? undefined, token: String(token) });
  }

  #hold(me: Holder, token: number): AcquiredLease {
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
      return leaseLost(this.#link.displayName, {
        current: typeof current === 'string' ? current : undefined,
        token: String(token),
        holder: typeof holder === 'string' ? parseHolder(holder).name : undefined,
      });
    }
    return undefined;
  }

  /** @param instead called before every attempt; an answer without asking Redis */
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
    hint: 'stop that one, or choose another prefix for the keys',
  });

/** The holder of the lease, as stored in Redis. */
export interface Holder {
  /** For messages. */
  readonly name: string;
  readonly nonce: string;
  /** Where `processId` is valid: this boot of this machine, in this namespace of process ids. */
  readonly machine: string;
  readonly processId: number;
  readonly startTicks: string;
}

async function thisHolder(name: string): Promise<Holder> {
  const ticks = (await startTicks(process.pid)) ?? '';
  return { name, nonce: randomUUID(), machine: await thisMachine(), processId: process.pid, startTicks: ticks };
}

/** Parses a stored holder. A value that Weft did not write gets no name. */
function parseHolder(text: string): Holder {
  const parts: Partial<Record<keyof Holder, unknown>> = JSON.parse(text);
  return {
    ...{ name: String(parts.name), nonce: String(parts.nonce), machine: String(parts.machine) },
    ...{ processId: Number(parts.processId), startTicks: String(parts.startTicks) },
  };
}

/** Whether the holder is known to be dead: it was a process of this machine. Its lease need not be waited for. */
async function isDead(holder: Holder): Promise<boolean> {
  const here = await thisMachine();
  return here !== '' && holder.machine === here && !(await isProcessAlive(holder.processId, holder.startTicks));
}

async function thisMachine(): Promise<string> {
  try {
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()}/${await readlink('/proc/self/ns/pid')}`;
  } catch {
    return '';
  }
}
