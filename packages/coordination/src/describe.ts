import type { ClusterState, LiveRun } from './cluster-state.js';
import type { RunFailure } from './records.js';
import type { RunPhase, RunState } from './run-state.js';

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
}

/** One run in a few words and numbers; undefined when there is no such run. */
export function describeRun(cluster: ClusterState, runId: string): RunView | undefined {
  const run = cluster.runs.get(runId);
  if (run === undefined) return undefined;
  const { durable: state, live } = run;
  return {
    runId,
    recipe: state.config.recipe,
    phase: state.phase,
    step: state.step,
    steps: state.config.steps,
    workers: state.config.workers,
    worldSize: live.stage === 'training' ? live.members.length : 0,
    generation: state.generation,
    reason: reasonOf(cluster, state, live),
    checkpointStep: state.checkpointStep,
    createdAtMs: state.createdAtMs,
    updatedAtMs: state.updatedAtMs,
    failure: state.failure,
  };
}

function reasonOf(cluster: ClusterState, state: RunState, live: LiveRun): string {
  switch (live.stage) {
    case 'ended':
      return state.reason;
    case 'waiting':
      if (live.origin === undefined) return `${state.reason}; its newest checkpoint is being looked up`;
      return `${state.reason}; ${waitsFor(cluster, state)}`;
    case 'reforming':
      return `the ring forms anew: ${live.cause}`;
    case 'training': {
      const { workers, steps } = state.config;
      const world = live.members.length;
      const on = world === workers ? plural(world, 'worker') : `${world} of ${plural(workers, 'worker')}`;
      if (state.step === steps) return 'its last checkpoint is being written';
      if (live.stopAfterStep === undefined) return `it trains step ${state.step + 1} of ${steps} on ${on}`;
      return `${state.reason}: it ends after step ${live.stopAfterStep} and its checkpoint`;
    }
  }
}

function waitsFor(cluster: ClusterState, state: RunState): string {
  const attending = cluster.workers.size;
  const idle = [...cluster.workers.values()].filter(({ runId }) => runId === undefined).length;
  const missing = state.config.workers - idle;
  return `it waits for ${plural(missing, 'more worker')}: it needs ${state.config.workers}, ${attending} attend and ${idle} of them ${idle === 1 ? 'is' : 'are'} idle`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
