/** `interrupted` is known only here: the log says running, but no coordinator lives to run it. */
export type Phase = 'queued' | 'running' | 'stopping' | 'finished' | 'stopped' | 'failed' | 'interrupted';

/** A run as a person sees it, whether a coordinator told it or the files of the run did. */
export interface RunView {
  readonly runId: string;
  readonly recipe: string;
  readonly phase: Phase;
  /** Why the run is in this phase, one sentence. */
  readonly reason: string;
  /** The last step applied; 0 before the first. */
  readonly step: number;
  readonly steps: number;
  /** What the run asks for. */
  readonly workers: number;
  /** What it trains on now; 0 while it does not. */
  readonly worldSize: number;
  readonly generation: number;
  /** The step of the newest checkpoint; 0 when there is none. */
  readonly checkpointStep: number;
  readonly directory: string;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly failure?: RunFailure;
  /** Of the last step; undefined before the first, and where it was not finite. */
  readonly loss?: number | undefined;
  readonly priority: number;
  /** Among those that wait, from 1; 0 when it does not wait. */
  readonly queuePlace: number;
  /** 0 where it cannot be known. */
  readonly expectedStartMs: number;
  /** The sweep it belongs to; empty for a run of its own. */
  readonly parent: string;
  /** Since it was launched or resumed by hand. */
  readonly failedAttempts: number;
  readonly maxAttempts: number;
}

export interface RunFailure {
  readonly code: string;
  readonly cure?: string;
}

/** Whether nothing will happen to the run any more unless somebody resumes it. */
export function hasEnded({ phase }: Pick<RunView, 'phase'>): boolean {
  return phase === 'finished' || phase === 'stopped' || phase === 'failed' || phase === 'interrupted';
}
