import type { ClusterState } from './cluster-state.js';
import { outlookOf } from './outlook.js';
import { reasonOf } from './reasons.js';
import type { RunFailure } from './records.js';
import type { RunPhase } from './run-state.js';

/** A run as people see it. */
export interface RunView {
  readonly runId: string;
  readonly recipe: string;
  readonly phase: RunPhase;
  /** The last committed step. */
  readonly step: number;
  readonly steps: number;
  /** What it asks for. */
  readonly workers: number;
  /** What it trains on now; 0 while it does not. */
  readonly worldSize: number;
  readonly generation: number;
  /** Why it is in this phase, one sentence without its full stop. */
  readonly reason: string;
  /** 0 when there is none. */
  readonly checkpointStep: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
  readonly failure: RunFailure | undefined;
  /** Of the last committed step; null before the first, and where it was not finite. */
  readonly loss: number | null;
  /** Among those that wait, from 1; undefined for others, and for one that a person paused. */
  readonly place: number | undefined;
  readonly priority: number;
  /** Undefined where it cannot be known. */
  readonly expectedStartMs: number | undefined;
  /** The sweep it belongs to. */
  readonly parent: string | null;
  readonly failedAttempts: number;
  readonly maxAttempts: number;
}

/** One run in a few words and numbers; undefined when there is no such run. */
export function describeRun(cluster: ClusterState, runId: string): RunView | undefined {
  const run = cluster.runs.get(runId);
  if (run === undefined) return undefined;
  const { durable: state, live } = run;
  const outlook = outlookOf(cluster);
  return {
    runId,
    recipe: state.config.recipe,
    phase: state.phase,
    step: state.step,
    steps: state.config.steps,
    workers: state.config.workers,
    worldSize: live.stage === 'training' ? live.members.length : 0,
    generation: state.generation,
    reason: reasonOf(cluster, run),
    checkpointStep: state.checkpointStep,
    createdAtMs: state.createdAtMs,
    updatedAtMs: state.updatedAtMs,
    failure: state.failure,
    loss: state.loss,
    place: outlook.places.get(runId),
    priority: outlook.jobs.get(runId)?.priority ?? state.config.queue.priority,
    expectedStartMs: outlook.expectedStartMs.get(runId),
    parent: state.parent,
    failedAttempts: state.failedAttempts,
    maxAttempts: state.config.queue.maxAttempts,
  };
}
