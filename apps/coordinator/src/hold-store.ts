import { hostname } from 'node:os';
import { WeftError } from '@weft/common';
import { readJsonFile } from '@weft/files';
import { type Held, openStore, type Store, type StoreOptions } from '@weft/store';
import type { Logger } from '@weft/telemetry';
import { coordinatorFile } from './home.js';
import { storeNotice } from './store-trouble.js';

export interface HoldStoreOptions extends StoreOptions {
  readonly log: Logger;
  /** Gives the waiting up. */
  readonly signal?: AbortSignal;
  /** How long to wait for the lease; default: as the store has it. */
  readonly waitMs?: number;
}

/** A store, and the right to write it. */
export interface HeldStore {
  readonly store: Store;
  readonly held: Held;
  /** Gives both back. */
  close(): Promise<void>;
}

/**
 * Makes this process the one that coordinates. Where another does, it waits as a standby (Redis), or is refused (files:
 * a second coordinator on one machine is a mistake).
 *
 * @throws `failed_precondition` naming the other one, `unavailable` when the store does not answer, `cancelled`.
 */
export async function holdStore({ log, signal, waitMs, ...options }: HoldStoreOptions): Promise<HeldStore> {
  const onTrying = ({ message }: WeftError) => log.warn(`${message}; it is tried again`);
  const store = await openStore({ onTrying, ...options });
  for (const warning of store.warnings) log.warn(warning);
  store.watchHealth((health) => {
    const notice = storeNotice({ description: store.description, health });
    if (health.answers) log.info(notice);
    else log.warn({ error: health.error }, notice);
  });
  const isStandby = options.redisUrl !== undefined && waitMs === undefined;
  const onWaiting = (holder: string) =>
    log.info(
      { holder },
      `${holder} coordinates in ${store.description}: this one ${isStandby ? 'stands by to take over' : 'waits a moment for its end'}`,
    );
  try {
    const me = `coordinator ${process.pid} on ${hostname()}`;
    const waiting = { ...(signal === undefined ? {} : { signal }), ...(waitMs === undefined ? {} : { waitMs }) };
    const held = await store.lease.acquire(me, { onWaiting, ...waiting });
    log.info({ token: held.token, store: store.description }, `keeps logs and queue in ${store.description}`);
    const close = async () => {
      // A store that is away would be waited for; there the lease lapses by itself.
      if (store.health.answers) await held.release();
      await store.close();
    };
    return { store, held, close };
  } catch (thrown) {
    await store.close();
    const error = WeftError.from(thrown);
    const isOurs = error.code === 'failed_precondition' && options.redisUrl === undefined;
    throw isOurs ? await heldByAnother(options.home, error) : error;
  }
}

async function heldByAnother(home: string, cause: WeftError): Promise<WeftError> {
  const file = await readJsonFile(coordinatorFile(home)).catch(() => undefined);
  const address = typeof file === 'object' && file !== null && 'address' in file ? ` at ${String(file.address)}` : '';
  return new WeftError('failed_precondition', `another coordinator${address} keeps this home: ${cause.message}`, {
    cure: 'use that one, stop it, or give this one a --home of its own',
    cause,
  });
}
