import { type ClusterState, connectedWorkers, memberIds } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import { detachWorkers } from './run-termination.js';
import { blocksQueue, waitingRuns } from './scheduling.js';

/**
 * Decides which active runs leave their workers at their next checkpoint, and to which waiting run of a higher priority.
 * It takes only as many runs as needed: the least important first, among equals the one that started last. Runs that are
 * about to end anyway count as ended.
 *
 * Computed again for every checkpoint that is due, so a preemption vanishes by itself when the urgent run is cancelled.
 *
 * @returns the run that gets the workers, by the run that leaves them; both as runIds
 */
export function findPreemptions(cluster: ClusterState, nowMs: number): ReadonlyMap<string, string> {
  const preemptions = new Map<string, string>();
  const connected = connectedWorkers(cluster);
  const candidates = findPreemptible(cluster);
  let free = connected.workers - countWorkers(candidates);
  for (const waiting of waitingRuns(cluster, nowMs)) {
    if (!waiting.isDue) continue;
    const { runId } = waiting.state;
    const { workers } = waiting.required;
    const missing = workers - free;
    const chosen = missing <= 0 ? [] : choosePreemptible(candidates, missing, waiting.job.priority);
    if (chosen !== undefined) {
      for (const candidate of chosen) {
        preemptions.set(candidate.runId, runId);
        candidates.splice(candidates.indexOf(candidate), 1);
      }
      free += countWorkers(chosen) - workers;
    } else if (blocksQueue(waiting, connected)) break;
  }
  return preemptions;
}

/** An active run that may have to leave its workers. */
interface Preemptible {
  readonly runId: string;
  readonly priority: number;
  /** Larger for runs that started later. */
  readonly order: number;
  readonly workers: number;
}

/** The active runs that go on for now, unless they are preempted. All other workers are idle, or soon will be. */
function findPreemptible({ queue, runs, workers }: ClusterState): Preemptible[] {
  return queue.jobs.flatMap((job, order): Preemptible[] => {
    const { runId, priority } = job;
    const run = job.state === 'active' ? runs.get(runId) : undefined;
    if (run === undefined) return [];
    const { state, live } = run;
    const isStopping = live.state === 'training' && live.stopAfterStep !== undefined;
    if (state.status !== 'running' || isStopping || state.step === state.config.steps) return [];
    return [{ runId, priority, order, workers: workers.count(`members/${runId}/rank`) }];
  });
}

/** The fewest and least important runs below `priority` that have `missing` workers together; undefined without such. */
function choosePreemptible(
  candidates: readonly Preemptible[],
  missing: number,
  priority: number,
): readonly Preemptible[] | undefined {
  const below = candidates.filter((candidate) => candidate.priority < priority);
  const inOrder = below.toSorted((a, b) => a.priority - b.priority || b.order - a.order);
  const enough = inOrder.findIndex((_, last) => countWorkers(inOrder.slice(0, last + 1)) >= missing);
  if (enough < 0) return undefined;
  let chosen = inOrder.slice(0, enough + 1);
  // The last one may be large enough to spare some of the others; the most important is spared first.
  for (const candidate of chosen.toReversed()) {
    const others = chosen.filter((other) => other !== candidate);
    if (countWorkers(others) >= missing) chosen = others;
  }
  return chosen;
}

function countWorkers(runs: readonly Preemptible[]): number {
  return runs.reduce((sum, { workers }) => sum + workers, 0);
}

/**
 * Ends the generation with the step just committed, if its checkpoint is due and a more important run needs the workers.
 * Called before the commit is sent to the ranks, so all of them stop after the same step.
 */
export function stopIfPreempted(builder: DecisionBuilder, runId: string): void {
  const { live, state } = builder.run(runId);
  const { step, config, status } = state;
  if (live.state !== 'training' || live.stopAfterStep !== undefined || status !== 'running') return;
  if (step === config.steps || step % config.checkpoint.everySteps !== 0) return;
  const preemptedBy = findPreemptions(builder.state, builder.nowMs).get(runId);
  if (preemptedBy === undefined) return;
  builder.setLive(runId, { ...live, stopAfterStep: step, preemptedBy });
  const { generation } = live;
  const reason = `run ${preemptedBy} has a higher priority`;
  builder.command({ kind: 'stopRun', workerIds: memberIds(live), runId, generation, afterStep: step, reason });
}

/**
 * Queues a run whose workers leave it and whose checkpoint is written. They become idle; it waits in front of its equals.
 * @param yieldedTo the run that gets the workers; default: none, they end
 */
export function requeueSaved(
  builder: DecisionBuilder,
  runId: string,
  { yieldedTo, directory, reason }: { yieldedTo?: string; directory: string; reason: string },
): string {
  const { step } = builder.run(runId).state;
  detachWorkers(builder, runId, reason);
  builder.record(runId, { kind: 'requeued', reason, isSaved: true, ...(yieldedTo === undefined ? {} : { yieldedTo }) });
  const startState = { step, directory };
  builder.setLive(runId, { state: 'waiting', sinceMs: builder.nowMs, startState, reservedUntilMs: undefined });
  builder.queue.requeue(runId);
  return `run ${runId} is queued: ${reason}`;
}
