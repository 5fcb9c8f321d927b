import type { WeftError } from '@weft/common';
import type { EventLog, LogReader } from './event-log.js';
import type { JobQueue } from './job-queue.js';
import type { AcquiredLease, Lease } from './lease.js';

/**
 * Everything a coordinator keeps: logs of runs, the queue, and the lease that says who may write. `openStore` gives one
 * in files (for one machine) or in Redis.
 */
export interface Store {
  /** For people, without secrets: `files in /home/ada/.weft`, `Redis 7.0.15 at 127.0.0.1:6379`. */
  readonly description: string;
  /** What a person should know about the set-up, one sentence each; usually none. */
  readonly warnings: readonly string[];
  readonly lease: Lease;
  /** The log of a run for reading. It need not exist. */
  log(name: string): LogReader;
  /** The names of all logs. */
  logNames(): Promise<readonly string[]>;
  /** The log of a run for writing under a lease; made when it does not exist. Several may be open at a time. */
  openLog(name: string, held: AcquiredLease): Promise<EventLog>;
  /** The queue, for writing under a lease. */
  openQueue(held: AcquiredLease): Promise<JobQueue>;
  /** Whether the store answers. Files always do. */
  readonly health: StoreHealth;
  /** Calls the listener at every change of `health`; returns what ends that. */
  watchHealth(listener: (health: StoreHealth) => void): () => void;
  /** Lets go of everything; calls that wait for the store are rejected with `cancelled`. Release the lease before. */
  close(): Promise<void>;
}

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
  /** What the names of all keys in Redis begin with, so that several clusters can share one. Default `weft`. */
  readonly keyPrefix?: string;
  /** How long a lease in Redis holds without a sign of its holder, milliseconds. Default 10,000. */
  readonly leaseMs?: number;
  /** How long to try to reach Redis at first, milliseconds; 0: once. Default 10,000; later losses are waited out. */
  readonly connectTimeoutMs?: number;
  /** Told once why Redis cannot be reached at first, when it is tried again. */
  readonly onConnectRetry?: (error: WeftError) => void;
}
