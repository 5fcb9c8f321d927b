import type { WeftError } from '@weft/common';
import type { EventLog, LogReader } from './event-log.js';
import type { JobQueue } from './job-queue.js';
import type { AcquiredLease, Lease } from './lease.js';

/**
 * Everything a coordinator keeps: the logs of runs, the queue, and the lease without which nothing is written. `openStore`
 * opens one in files (for one machine) or in Redis.
 */
export interface Store {
  /** For messages, without secrets: `files in /home/ada/.weft`, `Redis 7.0.15 at 127.0.0.1:6379`. */
  readonly description: string;
  /** What a person should know about the set-up, one sentence each; usually none. */
  readonly warnings: readonly string[];
  readonly lease: Lease;
  /** The log of a run, for reading. It need not exist. */
  log(name: string): LogReader;
  /** The names of all logs. */
  logNames(): Promise<readonly string[]>;
  /** The log of a run, for writing under a lease; created when it does not exist. Several may be open at a time. */
  openLog(name: string, held: AcquiredLease): Promise<EventLog>;
  /** The queue, for writing under a lease. */
  openQueue(held: AcquiredLease): Promise<JobQueue>;
  /** Whether the store answers. Files always do. */
  readonly health: StoreHealth;
  /** Calls the listener at every change of `health`, until the returned function is called. */
  watchHealth(listener: (health: StoreHealth) => void): () => void;
  /** Closes everything; calls that wait for the store are rejected with `cancelled`. Release the lease before. */
  close(): Promise<void>;
}

/** Whether a store answers, and if not, since when and why. */
export type StoreHealth =
  | { readonly isAvailable: true }
  | {
      readonly isAvailable: false;
      /** Milliseconds since the epoch. */
      readonly sinceMs: number;
      /** Why, without secrets. */
      readonly error: WeftError;
    };

/** Where the store is. */
export interface StoreOptions {
  /** The directory of the runs, `$WEFT_HOME`. */
  readonly home: string;
  /** `redis://…`, `rediss://…`, `redis+sentinel://…`, `redis+cluster://…`; without it: files in `home`. */
  readonly redisUrl?: string;
  /** What the names of all keys in Redis begin with; different for clusters that share one Redis. Default `weft`. */
  readonly keyPrefix?: string;
  /** How long a lease in Redis lasts without renewal, milliseconds. Default 10,000. */
  readonly leaseMs?: number;
  /** How long to try the first connection to Redis, milliseconds; 0: once. Default 10,000. Later it is tried for ever. */
  readonly connectTimeoutMs?: number;
  /** Called once with the reason when the first connection fails and is tried again. */
  readonly onConnectRetry?: (error: WeftError) => void;
}
