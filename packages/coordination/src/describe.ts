import type { RunStatus, RunView } from '@weft/contracts';
import type { ClusterState } from './cluster-state.js';
import { outlookOf } from './outlook.js';
import { reasonOf } from './reasons.js';

/** A run as people see it, but for the folder, which only the coordinator's process knows. */
export type RunDescription = Omit<RunView, 'directory'> & { readonly status: RunStatus };

/** One run in a few words and numbers; undefined when there is no such run. */
export function describeRun(cluster: ClusterState, runId: string): RunDescription | undefined {
  const run = cluster.runs.get(runId);
  if (run === undefined) return undefined;
  const { durable: state, live } = run;
  const outlook = outlookOf(cluster);
  return {
    runId,
    recipe: state.config.recipe,
    status: state.status,
    step: state.step,
    steps: state.config.steps,
    workers: state.config.workers,
    worldSize: live.stage === 'training' ? live.members.length : 0,
    generation: state.generation,
    reason: reasonOf(cluster, run),
    checkpointStep: state.checkpointStep,
    createdAtMs: state.createdAtMs,
    updatedAtMs: state.updatedAtMs,
    failure: state.failure ?? null,
    loss: state.loss,
    queuePosition: outlook.places.get(runId) ?? null,
    priority: outlook.jobs.get(runId)?.priority ?? state.config.queue.priority,
    expectedStartMs: outlook.expectedStartMs.get(runId) ?? null,
    parent: state.parent,
    failedAttempts: state.failedAttempts,
    maxAttempts: state.config.queue.maxAttempts,
  };
}
