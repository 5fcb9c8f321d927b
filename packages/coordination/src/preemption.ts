import type { ClusterState } from './cluster-state.js';
import { rankWorkers } from './roles.js';
import { crewAttending, holdsBack, waitingRuns } from './turn-order.js';

/** A run whose workers a more important one may have. */
interface Victim {
  readonly runId: string;
  readonly priority: number;
  /** Larger for those that went to work later. */
  readonly order: number;
  readonly workers: number;
}

/**
 * Which runs leave their workers, at their next checkpoint, to which waiting run of a higher priority. Only as many as it
 * takes: the least important first, among equals those that went to work last. Runs that are about to end anyway count as ended.
 */
export function yieldingRuns(cluster: ClusterState, nowMs: number): ReadonlyMap<string, string> {
  const yielding = new Map<string, string>();
  const attending = crewAttending(cluster);
  const { soonFree, victims } = workforce(cluster);
  let free = soonFree;
  for (const waiting of waitingRuns(cluster, nowMs)) {
    if (!waiting.isDue) continue;
    const { runId, config } = waiting.state;
    const missing = config.workers - free;
    const chosen = missing <= 0 ? [] : choose(victims, missing, waiting.job.priority);
    if (chosen !== undefined) {
      for (const victim of chosen) {
        yielding.set(victim.runId, runId);
        victims.splice(victims.indexOf(victim), 1);
      }
      free += sizeOf(chosen) - config.workers;
    } else if (holdsBack(waiting, attending)) break;
  }
  return yielding;
}

/** Workers that are idle or will be in a moment, and the runs that hold the others. */
function workforce({ queue, runs, ...cluster }: ClusterState): { soonFree: number; victims: Victim[] } {
  const workers = rankWorkers(cluster);
  const held = new Map<string, number>();
  for (const { runId } of workers) if (runId !== undefined) held.set(runId, (held.get(runId) ?? 0) + 1);
  const victims = queue.jobs.flatMap(({ runId, priority, state }, order): Victim[] => {
    const run = state === 'active' ? runs.get(runId) : undefined;
    if (run === undefined || run.durable.status !== 'running') return [];
    const { durable, live } = run;
    if (live.stage === 'training' && live.stopAfterStep !== undefined) return [];
    if (durable.step === durable.config.steps) return [];
    return [{ runId, priority, order, workers: held.get(runId) ?? 0 }];
  });
  return { soonFree: workers.length - sizeOf(victims), victims };
}

/** The fewest and least important runs below `priority` that hold `missing` workers together; undefined: there are none. */
function choose(victims: readonly Victim[], missing: number, priority: number): readonly Victim[] | undefined {
  const below = victims.filter((victim) => victim.priority < priority);
  const inOrder = below.toSorted((a, b) => a.priority - b.priority || b.order - a.order);
  const enough = inOrder.findIndex((_, last) => sizeOf(inOrder.slice(0, last + 1)) >= missing);
  if (enough < 0) return undefined;
  let chosen = inOrder.slice(0, enough + 1);
  // The last one may be large enough to spare some of the others; the most important is spared first.
  for (const victim of chosen.toReversed()) {
    const others = chosen.filter((other) => other !== victim);
    if (sizeOf(others) >= missing) chosen = others;
  }
  return chosen;
}

function sizeOf(runs: readonly Victim[]): number {
  return runs.reduce((sum, { workers }) => sum + workers, 0);
}
