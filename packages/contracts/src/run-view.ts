import type { ErrorCode } from '@weft/common';

/** The status of a run in its log. `finished`, `stopped` and `failed` are ends; the last two can be resumed. */
export type RunStatus = 'queued' | 'running' | 'stopping' | 'finished' | 'stopped' | 'failed';

/**
 * Grows when the fields of `RunState` of `@weft/coordination` change: a `RunState` that was cached with another number is void. Whoever
 * reads a cache needs it before the rest of that package, which takes longer to load than to read.
 */
export const RUN_STATE_VERSION = 10;

/** A `WeftError` as it is stored with a run. */
export interface RunFailure {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint: string | null;
}

/** A run as people see it, described by a coordinator or read from the run's files. */
export interface RunView {
  readonly runId: string;
  readonly recipe: string;
  /** `interrupted`: by its log the run has not ended, but no coordinator lives. */
  readonly status: RunStatus | 'interrupted';
  /** Why it has this status, one sentence without its full stop. */
  readonly reason: string;
  /** The last committed step; 0 before the first. */
  readonly step: number;
  readonly steps: number;
  /** How many workers the run asks for. */
  readonly workers: number;
  /** How many ranks train now; 0 while it does not train. */
  readonly worldSize: number;
  readonly generation: number;
  /** The step of the newest checkpoint; 0 when there is none. */
  readonly checkpointStep: number;
  readonly directory: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly failure: RunFailure | null;
  /** Of the last committed step; null before the first, and where it was not finite. */
  readonly loss: number | null;
  readonly priority: number;
  /** Among the waiting jobs, from 1; null when it does not wait, and when a person paused it. */
  readonly queuePosition: number | null;
  /** Milliseconds since the Unix epoch; null when it is unknown. */
  readonly expectedStartMs: number | null;
  /** The sweep it belongs to; null for a run of its own. */
  readonly parent: string | null;
  /** Since it was launched or resumed by hand. */
  readonly failedAttempts: number;
  readonly maxAttempts: number;
}

/** Whether the run has ended; nothing more happens to it unless it is resumed. */
export function hasEnded({ status }: Pick<RunView, 'status'>): boolean {
  return status === 'finished' || status === 'stopped' || status === 'failed' || status === 'interrupted';
}
