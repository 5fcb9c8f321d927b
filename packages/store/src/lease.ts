import type { WeftError } from '@weft/common';

/**
 * The right to coordinate, held by one at a time. The store refuses what a former holder still tries to write, so a
 * process that was stopped for an hour and wakes up does no harm.
 */
export interface Lease {
  /**
   * Takes the lease, or waits until its holder has let go of it, died, or not been heard of for too long.
   *
   * @param holder names this process for people: `coordinator 4711 on node-3`.
   * @throws WeftError `failed_precondition` that names the holder when it is not free within `waitMs`, `cancelled` when
   * `signal` aborts.
   */
  acquire(holder: string, options?: AcquireOptions): Promise<AcquiredLease>;
}

export interface AcquireOptions {
  readonly signal?: AbortSignal;
  /** Told once who has the lease, when it must be waited for, and again when another takes it meanwhile. */
  readonly onWaiting?: (holder: string) => void;
  /**
   * Milliseconds to wait for it. Default: with Redis for ever, as a standby; with files 2,000, because a second
   * coordinator on one machine is a mistake.
   */
  readonly waitMs?: number;
}

/** The lease while it is held. */
export interface AcquiredLease {
  /** The fencing token: grows with every change of hand. */
  readonly token: number;
  /** Resolves, with the reason, when another has taken the lease: end the process. Pending until then, also after `release`. */
  readonly lost: Promise<WeftError>;
  /** Gives the lease back; safe to call twice. */
  release(): Promise<void>;
}
