import type { WeftError } from '@weft/common';

/**
 * The right to coordinate, which one process has at a time. The store refuses writes of a former holder, so a process that
 * was suspended for an hour and wakes up does no harm.
 */
export interface Lease {
  /**
   * Takes the lease, or waits until its holder has released it, has died, or has not renewed it in time.
   *
   * @param holder names this process in messages: `coordinator 4711 on node-3`
   * @throws WeftError `failed_precondition` that names the holder when it is not free within `waitMs`, `cancelled` when
   * `signal` aborts.
   */
  acquire(holder: string, options?: AcquireOptions): Promise<AcquiredLease>;
}

/** How to wait for the lease. */
export interface AcquireOptions {
  readonly signal?: AbortSignal;
  /** Called with the holder of a lease that must be waited for, and again when the holder changes. */
  readonly onWaiting?: (holder: string) => void;
  /**
   * Milliseconds to wait. Default: with Redis for ever, as a standby; with files 2,000, because a second coordinator on
   * one machine is a mistake.
   */
  readonly waitMs?: number;
}

/** The lease of this process. */
export interface AcquiredLease {
  /** The fencing token; it grows with every new holder. */
  readonly token: number;
  /** Resolves with the reason when another process has taken the lease: end the process then. Stays pending after `release`. */
  readonly lost: Promise<WeftError>;
  /** Gives the lease back; safe to call twice. */
  release(): Promise<void>;
}
