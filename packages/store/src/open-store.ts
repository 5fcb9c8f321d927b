import { FileStore } from './file-store.js';
import type { Store, StoreOptions } from './store.js';

const DEFAULT_KEY_PREFIX = 'weft';
const DEFAULT_LEASE_MS = 10_000;
const DEFAULT_CONNECT_TIMEOUT_MS = 10_000;

/**
 * Opens the store that the options name.
 *
 * @throws WeftError for a Redis that cannot be used: `invalid_argument` for its URL, `unavailable` when it does not answer,
 * `failed_precondition` when it refuses the connection or is unfit (too old, evicts keys, a replica).
 */
export async function openStore({
  home,
  redisUrl,
  keyPrefix = DEFAULT_KEY_PREFIX,
  leaseMs = DEFAULT_LEASE_MS,
  connectTimeoutMs = DEFAULT_CONNECT_TIMEOUT_MS,
  onConnectRetry,
}: StoreOptions): Promise<Store> {
  if (redisUrl === undefined) return new FileStore(home);
  // Imported only when it is needed: it takes a quarter of a second.
  const { RedisStore } = await import('./redis/redis-store.js');
  return RedisStore.open({ url: redisUrl, keyPrefix, leaseMs, connectTimeoutMs, onConnectRetry });
}
