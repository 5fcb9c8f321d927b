import { HEARTBEAT_TIMEOUT_MS, type PerSource } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { CheckpointFile, Shortage, StepVote } from '@weft/contracts';
import type { MemberProgress, WorkerIdentity } from './connected-worker.js';
import { EMPTY_QUEUE, type QueueState } from './queue-state.js';
import type { RunState, WorkerCounts } from './run-state.js';
import { VersionedMap } from './versioned-map.js';
import { WorkerTable } from './worker-table.js';

export type {
  ConnectedWorker,
  HeldRun,
  MemberProgress,
  Role,
  ToldProgress,
  WorkerIdentity,
} from './connected-worker.js';

/** All that `decide` knows: the runs, the connected workers and the queue. */
export interface ClusterState {
  readonly timeouts: Timeouts;
  readonly workers: WorkerTable;
  /** By runId, in the order they were launched. */
  readonly runs: VersionedMap<string, Run>;
  /** The jobs that have not ended, in order. Every run that has not ended has its job here. */
  readonly queue: QueueState;
  /** How long steps took, to estimate when runs end. */
  readonly stepTimes: StepTimes;
  /** How many connections were accepted so far; numbers the workers in the order they came. */
  readonly connectionCount: number;
  /** When the last `tick` was decided; undefined before the first. */
  readonly lastTickMs: number | undefined;
  /** When workers were last asked whether they reach those again that they could not; absent: never. */
  readonly lastProbeMs?: number | undefined;
  /** The clock jumped then: nobody was silent before. */
  readonly timeoutsSinceMs: number;
}

/** Timeouts and failure limits. */
export interface Timeouts {
  /** A worker that sends nothing for this long is lost. */
  readonly heartbeatTimeoutMs: number;
  /** After a loss, how long to wait for further losses (a host dies with all its workers) before the ring forms again. */
  readonly lossGraceMs: number;
  /** How long a rank may stay silent after another rank voted for the same step. */
  readonly voteTimeoutMs: number;
  /** A run fails when this many steps in a row are skipped because their gradients are not finite. */
  readonly maxSkippedSteps: number;
  /** A run fails when its ring breaks this many times in a row, without a step in between and with no worker lost. */
  readonly maxRingFailures: number;
  /** How long workers are reserved for a run that was interrupted: they need a moment to find the coordinator again. */
  readonly reservationMs: number;
  /**
   * How long a run whose workers may come back with its state does not go back to its checkpoint at all; 0: nobody is
   * awaited.
   */
  readonly returnMs: number;
}

/** The timeouts and limits of a coordinator without options. */
export const defaultTimeouts: Timeouts = {
  heartbeatTimeoutMs: HEARTBEAT_TIMEOUT_MS,
  lossGraceMs: 100,
  voteTimeoutMs: 300_000,
  maxSkippedSteps: 10,
  maxRingFailures: 5,
  // The longest pause between two attempts of a worker to connect, and a little more.
  reservationMs: 15_000,
  // Workers that hold a run try to connect at least once a second.
  returnMs: 5000,
};

/**
 * What a worker's memory lacks for its part of a run; undefined where it may hold it, or nobody knows. Pure: the same for the
 * same configuration and memory.
 */
export type ShortageOf = (config: RunConfig, worker: WorkerIdentity) => Shortage | undefined;

/** Of a cluster that does not look at memory. */
export const fitsAll: ShortageOf = () => undefined;

/** What `decide` looks up. It changes no state by itself: workers send many thousand heartbeats for every decision. */
export interface Lookups {
  /** What a worker's memory lacks for a run; default: nothing. */
  readonly shortageOf?: ShortageOf | undefined;
  /** When the last message of any kind came from a worker; undefined: none since it connected. Default: none of anybody. */
  readonly lastMessageMs?: ((workerId: string) => number | undefined) | undefined;
  /** The workers whose last message came before a time, or later than now: workerIds. Default: all are looked at. */
  readonly silentBefore?: ((timeMs: number) => Iterable<string>) | undefined;
  /** Where a worker was in its run when it last told; undefined: it has not, since it connected. Default: nobody has. */
  readonly progressOf?: ((workerId: string) => MemberProgress | undefined) | undefined;
}

/** A run: its logged state, and what exists only in memory. */
export interface Run {
  readonly state: RunState;
  readonly live: LiveRun;
}

/** The part of a run that is not in its log: what workers hold in memory, and which messages came. A restart loses it. */
export type LiveRun = Ended | Waiting | Training | Reforming;

interface Ended {
  readonly state: 'ended';
}

/** In the queue. */
export interface Waiting {
  readonly state: 'waiting';
  /** When it began to wait. For the first `reservationMs` it waits for all its workers, then for the fewest it may have. */
  readonly sinceMs: number;
  /** Undefined while the newest checkpoint is being looked up. */
  readonly startState: StartState | undefined;
  /** The run was interrupted, and until this time no other run may take the workers it needs. */
  readonly reservedUntilMs: number | undefined;
  /** The run lost an expert worker. It may go on with the workers that are left, fewer than its configuration asks for. */
  readonly minimumWorkers?: WorkerCounts | undefined;
  /** Enough workers are connected, but too few of them have the memory for it. It waits for others, and nobody for it. */
  readonly shortage?: Shortage | undefined;
  /**
   * Its workers may come back with its state in memory. Until this time the run does not go back to a checkpoint at all, and
   * later only when it could start from there.
   */
  readonly returnsUntilMs?: number | undefined;
  /** The answer about its newest checkpoint, kept until it is clear that the run goes back to it. */
  readonly found?: FoundCheckpoint | undefined;
}

/** What a run starts from when no worker holds its state: a checkpoint, or the seed (step 0, no directory). */
export interface StartState {
  readonly step: number;
  readonly directory: string | undefined;
}

/** The newest checkpoint of a run that verifies, is healthy and lies within its log, and the newer ones that do not or are not. */
export interface FoundCheckpoint {
  readonly checkpoint: { readonly step: number; readonly directory: string } | undefined;
  readonly skipped: readonly {
    readonly directory: string;
    readonly reason: string;
    /** Its bytes are whole, but it may hold a broken model. */
    readonly isUnhealthy: boolean;
  }[];
}

/** What stays the same from one generation to the next while the same workers hold the run's state. */
export interface RetainedState {
  /** Undefined when the run's workers came back with its state: it is in their memory alone. */
  readonly startState: StartState | undefined;
  /** workerIds of the expert workers, by number; empty where every rank holds all experts. */
  readonly experts: readonly string[];
  /** Expert workers that were assigned without the state, and get it with the next committed step, whatever the log says of them. */
  readonly arrivingExperts: readonly string[];
  /** The first generation since the run started from `startState`. Messages of older ones are about another state. */
  readonly firstGeneration: number;
  /** A person asked for a checkpoint: it is saved after the next step that is committed. Absent: no. */
  readonly isCheckpointAsked?: boolean | undefined;
  /** How often the ring broke in a row without a step in between and with no worker lost. */
  readonly ringFailures: number;
  /** Committed steps whose report from rank 0 has not come yet, oldest first. */
  readonly unreported: readonly CommittedStep[];
}

/** A generation that trains. */
export interface Training extends RetainedState {
  readonly state: 'training';
  readonly generation: number;
  /** workerIds by rank. */
  readonly members: readonly string[];
  /** Those of the members that get the state from the others: they have it once this generation has committed a step. */
  readonly newcomers: readonly string[];
  /**
   * The members of the generations whose parts of checkpoints count, by generation: this one, and the one before when all
   * that changed is that workers joined.
   */
  readonly savers: ReadonlyMap<number, readonly string[]>;
  /** The votes received for the step after the last committed one, by rank. */
  readonly votes: VersionedMap<number, StepVote>;
  /** When the first of them came. */
  readonly votesSinceMs: number | undefined;
  /** Checkpoint parts that are on disk: by step, then by the member's index among the savers of its generation. */
  readonly parts: ReadonlyMap<number, VersionedMap<number, readonly CheckpointFile[]>>;
  /** Steps whose manifest rank 0 was asked to write. */
  readonly manifests: ReadonlySet<number>;
  /** By step, for how long training stood still to save it, on the member where that was longest. Absent: nobody said. */
  readonly stalls?: ReadonlyMap<number, number>;
  /** When this generation was last asked to save; absent: not yet. */
  readonly saveAskedMs?: number;
  /** The step after which every rank ends; undefined while nothing stops the run. */
  readonly stopAfterStep: number | undefined;
  /** The more important run that gets the workers after `stopAfterStep`; undefined when the run stops for another reason. */
  readonly preemptedBy: string | undefined;
  /** It stops because its last workers were asked to end, and waits for others then. Absent: no. */
  readonly isLeft?: true;
  /** Undefined before the first commit of the generation. */
  readonly timing: StepTiming | undefined;
  /** How long its last steps took, by which one tells that a member hangs; absent: none yet. */
  readonly stepMs?: readonly number[];
  /** The step that is trained now; absent before the first commit of the generation. */
  readonly watch?: StepWatch;
  /** By rank, how many steps in a row it was much slower than the others; absent: none was. */
  readonly slowSteps?: readonly number[];
}

/** What is known of the step that a generation trains now. */
export interface StepWatch {
  /** When the step before was committed, or a rank last did what takes its time by nature. */
  readonly sinceMs: number;
  /** Nothing but training lies between the step before and this one. */
  readonly isUsual: boolean;
  /** When its members were asked where they are, first and last; undefined: not yet. */
  readonly firstAskedMs: number | undefined;
  readonly askedMs: number | undefined;
  /** Members that hang in it, by workerId, with what was said of them. */
  readonly named: ReadonlyMap<string, string>;
  /** Since when members that answer stand still behind the others, by workerId. */
  readonly behindSinceMs: ReadonlyMap<string, number>;
}

/** Between two generations: the survivors keep their state and wait for a new ring. */
export interface Reforming extends RetainedState {
  readonly state: 'reforming';
  readonly survivors: readonly string[];
  readonly sinceMs: number;
  /** Members of which a message is awaited since the ring broke. The ring does not form before each of them sent one, or is lost. */
  readonly awaitingHeartbeat: readonly string[];
  /** What ended the last generation, one clause. */
  readonly cause: string;
  /** Members come back with the state, one after the other. Absent: nobody is awaited. */
  readonly returns?: Returns | undefined;
}

/** The members of a run that come back with its state to a coordinator which missed them. */
export interface Returns {
  /** Until then all members of the newest generation are awaited. */
  readonly untilMs: number;
  /** workerIds of those for whom the generation is not over. */
  readonly training: VersionedMap<string, true>;
}

/** What the commit of a step contributes to its row of `metrics.jsonl`. */
export interface CommittedStep {
  readonly step: number;
  readonly generation: number;
  readonly loss: number | null;
  readonly gradNorm: number | null;
  /** Sequences of this step, by source. */
  readonly sequences: PerSource<number>;
  /** ISO 8601. */
  readonly time: string;
}

/** The first and the last step that a generation committed, and when. The first is slow: it compiles the graph. */
export interface StepTiming {
  readonly firstStep: number;
  readonly firstMs: number;
  readonly lastStep: number;
  readonly lastMs: number;
}

/** Milliseconds per step, by what determines the time of a step (`estimates.ts` makes the key). */
export type StepTimes = ReadonlyMap<string, number>;

/**
 * A cluster without workers and with an empty queue.
 *
 * @param runs the states of the logs, in any order
 */
export function initialCluster(timeouts: Timeouts = defaultTimeouts, runs: readonly RunState[] = []): ClusterState {
  const inOrder = runs.toSorted((a, b) => a.createdAtMs - b.createdAtMs || (a.runId < b.runId ? -1 : 1));
  return {
    timeouts,
    workers: WorkerTable.empty(),
    runs: VersionedMap.from(inOrder.map((state) => [state.runId, { state, live: { state: 'ended' } }])),
    queue: EMPTY_QUEUE,
    stepTimes: new Map(),
    connectionCount: 0,
    lastTickMs: undefined,
    timeoutsSinceMs: 0,
  };
}

/** How many workers of each role are connected. */
export function connectedWorkers({ workers }: Pick<ClusterState, 'workers'>): WorkerCounts {
  return { workers: workers.count('connected/rank'), expertWorkers: workers.count('connected/expertWorker') };
}

/** How many workers of each role can be given work. */
export function idleWorkers({ workers }: Pick<ClusterState, 'workers'>): WorkerCounts {
  return { workers: workers.count('idle/rank'), expertWorkers: workers.count('idle/expertWorker') };
}

/** All members of a generation: the ranks, then the expert workers. Files of checkpoints are listed in this order. */
export function memberIds({ members, experts }: Pick<Training, 'members' | 'experts'>): readonly string[] {
  return [...members, ...experts];
}

/** "rank 1" or "expert worker 0", for messages. */
export function describeMember(live: Training | Reforming, workerId: string): string {
  const { role, rank } = memberIndex(live, workerId);
  return role === undefined ? `rank ${rank}` : `expert worker ${rank}`;
}

/** A member's number within its role, as records name it: `role` is absent for ranks. */
export function memberIndex(
  live: Training | Reforming,
  workerId: string,
): { readonly rank: number; readonly role?: 'expertWorker' } {
  const expert = live.experts.indexOf(workerId);
  if (expert >= 0) return { rank: expert, role: 'expertWorker' };
  return { rank: (live.state === 'training' ? live.members : live.survivors).indexOf(workerId) };
}

const ranks = new WeakMap<readonly string[], ReadonlyMap<string, number>>();

/** Where a worker is in a list of members, -1 where it is not. Unlike `indexOf` it does not look at every member. */
export function rankOf(members: readonly string[], workerId: string): number {
  const known = ranks.get(members) ?? new Map(members.map((member, rank) => [member, rank]));
  ranks.set(members, known);
  return known.get(workerId) ?? -1;
}
