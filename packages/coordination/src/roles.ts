import type { Attendee, ClusterState, Memory, Reforming, Training } from './cluster-state.js';

/** What a worker does in a run: train as a rank of the ring, or hold experts of the MoE layers. */
export type Role = 'rank' | 'expertWorker';

/** The attending workers that can be ranks; queue and preemption are about them. */
export function rankWorkers({ workers }: Pick<ClusterState, 'workers'>): readonly Attendee[] {
  return [...workers.values()].filter(({ role }) => role === 'rank');
}

/** The attending workers that can hold experts. */
export function expertWorkers({ workers }: Pick<ClusterState, 'workers'>): readonly Attendee[] {
  return [...workers.values()].filter(({ role }) => role === 'expertWorker');
}

export function areIdle(workers: readonly Attendee[]): readonly Attendee[] {
  return workers.filter(({ runId }) => runId === undefined);
}

/** Everybody of a generation: the ranks, then the expert workers. Files of checkpoints come in this order. */
export function participants({ members, experts }: Pick<Training, 'members' | 'experts'>): readonly string[] {
  return [...members, ...experts];
}

/** "rank 1" or "expert worker 0", for messages. */
export function placeOf(live: Training | Reforming, workerId: string): string {
  const { role, rank } = numberOf(live, workerId);
  return role === undefined ? `rank ${rank}` : `expert worker ${rank}`;
}

/** A member's number within its role; records name the role only where it is not a rank. */
export function numberOf(
  live: Memory & ({ readonly members: readonly string[] } | { readonly survivors: readonly string[] }),
  workerId: string,
): { readonly rank: number; readonly role?: 'expertWorker' } {
  const expert = live.experts.indexOf(workerId);
  if (expert >= 0) return { rank: expert, role: 'expertWorker' };
  return { rank: ('members' in live ? live.members : live.survivors).indexOf(workerId) };
}
