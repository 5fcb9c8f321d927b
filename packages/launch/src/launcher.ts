import type { RunsClient } from '@weft/client';
import type { WeftError } from '@weft/common';

/** What to start. */
export interface ClusterRequest {
  readonly workers: number;
  /** Default: none. */
  readonly expertWorkers?: number;
  /** What becomes of runs that an earlier cluster of this home left unfinished; default: left to `weft resume`. */
  readonly recover?: 'auto' | 'manual';
  /** Called with a sentence whenever the start has come a step further. */
  readonly onProgress: (sentence: string) => void;
  /** Gives the start up. */
  readonly signal: AbortSignal;
}

/** Starts clusters somewhere: as processes of this machine, as jobs of a scheduler. */
export interface Launcher {
  /**
   * Starts a coordinator and its workers, and waits until every worker has connected. On failure nothing is left running.
   *
   * @throws `failed_precondition` with the reason of a process that ended, `already_exists` when a coordinator serves this
   * home already, `deadline_exceeded` when a process is not ready in time, `cancelled` when the signal aborts.
   */
  start(request: ClusterRequest): Promise<Cluster>;
}

/** A coordinator and its workers, as long as whoever launched them wants them. */
export interface Cluster {
  readonly client: RunsClient;
  /** Where the processes log. */
  readonly logDirectory: string;
  /** Calls back with a sentence for every process that ends before `close`. */
  onExit(listener: (sentence: string) => void): void;
  /** Why the cluster cannot go on, when it cannot: its coordinator, its last worker or its last expert worker is gone. */
  failure(): Promise<WeftError | undefined>;
  /** Lets the processes end in their own time, and resolves when they have. */
  close(): Promise<void>;
  /** Ends them at once. */
  kill(): void;
}
