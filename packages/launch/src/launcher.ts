import type { RunsClient } from '@weft/client';
import type { WeftError } from '@weft/common';

/** What to start. */
export interface ClusterRequest {
  readonly workers: number;
  /** Default: none. */
  readonly expertWorkers?: number;
  /** What to do with runs that an earlier cluster of this home left unfinished; default `manual`: leave them to `weft resume`. */
  readonly recover?: 'auto' | 'manual';
  /** Called with a sentence at every step of the start. */
  readonly onProgress: (sentence: string) => void;
  /** Cancels the start. */
  readonly signal: AbortSignal;
}

/** Starts clusters: as processes of this machine, or as jobs of a scheduler. */
export interface Launcher {
  /**
   * Starts a coordinator and its workers, and waits until every worker has connected. After a failure nothing is left running.
   *
   * @throws WeftError `failed_precondition` with the reason of a process that ended, `already_exists` when a coordinator serves this
   * home already, `deadline_exceeded` when a process is not ready in time, `cancelled` when the signal aborts.
   */
  start(request: ClusterRequest): Promise<Cluster>;
}

/** A coordinator and its workers that a launcher started; they run until `close`. */
export interface Cluster {
  readonly client: RunsClient;
  /** The directory with the logs of the processes. */
  readonly logDirectory: string;
  /** Calls the listener with a sentence for every process that ends before `close`. */
  onExit(listener: (sentence: string) => void): void;
  /** Why the cluster cannot go on: its coordinator, its last worker or its last expert worker is gone. Undefined while it can. */
  failure(): Promise<WeftError | undefined>;
  /** Asks the processes to end, and resolves when they have. */
  close(): Promise<void>;
  /** Ends them at once. */
  kill(): void;
}
