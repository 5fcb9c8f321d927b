import { hostname } from 'node:os';
import { WeftError } from '@weft/common';
import { Home, readCoordinatorFile } from '@weft/files';
import { type AcquiredLease, openStore, type Store, type StoreOptions } from '@weft/store';
import type { Logger } from '@weft/telemetry';

interface AcquireStoreOptions extends StoreOptions {
  readonly log: Logger;
  /** Ends the wait for the lease. */
  readonly signal?: AbortSignal;
  /** How long to wait for the lease. Default: on Redis without end, in files a few seconds. */
  readonly waitMs?: number;
}

/** A store with the lease, without which it cannot be written. */
export interface LeasedStore {
  readonly store: Store;
  readonly lease: AcquiredLease;
  /** Releases the lease and closes the store. */
  close(): Promise<void>;
}

/**
 * Makes this process the active coordinator of a store. While another process is, it waits as a standby (Redis) or is
 * refused (files, where a second coordinator is a mistake).
 *
 * @throws WeftError `failed_precondition` naming the other coordinator, `unavailable` when the store does not answer,
 *   `cancelled`.
 */
export async function acquireStore({ log, signal, waitMs, ...options }: AcquireStoreOptions): Promise<LeasedStore> {
  const onConnectRetry = ({ message }: WeftError) => log.warn(`${message}; it is tried again`);
  const store = await openStore({ onConnectRetry, ...options });
  for (const warning of store.warnings) log.warn(warning);
  store.watchHealth((health) => {
    const notice = describeStoreHealth({ description: store.description, health });
    if (health.isAvailable) log.info(notice);
    else log.warn({ error: health.error }, notice);
  });
  const isStandby = options.redisUrl !== undefined && waitMs === undefined;
  const onWaiting = (holder: string) =>
    log.info(
      { holder },
      `${holder} is the coordinator of ${store.description}: this process ${isStandby ? 'stands by to take over' : 'waits a moment for it to end'}`,
    );
  try {
    const holder = `coordinator ${process.pid} on ${hostname()}`;
    const waiting = { ...(signal === undefined ? {} : { signal }), ...(waitMs === undefined ? {} : { waitMs }) };
    const lease = await store.lease.acquire(holder, { onWaiting, ...waiting });
    log.info({ token: lease.token, store: store.description }, `keeps logs and queue in ${store.description}`);
    const close = async () => {
      // Releasing would wait for a store that does not answer; there the lease expires by itself.
      if (store.health.isAvailable) await lease.release();
      await store.close();
    };
    return { store, lease, close };
  } catch (thrown) {
    await store.close();
    const error = WeftError.from(thrown);
    const isHomeTaken = error.code === 'failed_precondition' && options.redisUrl === undefined;
    throw isHomeTaken ? await homeTaken(options.home, error) : error;
  }
}

async function homeTaken(home: string, cause: WeftError): Promise<WeftError> {
  const other = await readCoordinatorFile(new Home(home));
  const address = other === undefined ? '' : ` at ${other.address}`;
  return new WeftError('failed_precondition', `another coordinator${address} keeps this home: ${cause.message}`, {
    hint: 'use that one, stop it, or give this one a --home of its own',
    cause,
  });
}

/** One clause about a store that does not answer; undefined while it answers. */
export function describeStoreError({ description, health }: Pick<Store, 'description' | 'health'>): string | undefined {
  if (health.isAvailable) return undefined;
  const since = new Date(health.sinceMs).toISOString();
  return `${description} has not answered since ${since} (${health.error.message}), and nothing is decided until it does`;
}

/** What changed, one sentence without its full stop. */
export function describeStoreHealth(store: Pick<Store, 'description' | 'health'>): string {
  return describeStoreError(store) ?? `${store.description} answers again`;
}
