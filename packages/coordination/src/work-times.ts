import { addTime, noTime, type StoredWorkTimes, type TimeBucket, totalSeconds, type WorkTime } from '@weft/contracts';
import type { ClusterState, Run } from './cluster-state.js';

/** How a run's workers are counted from now on. */
interface Membership {
  /** workerIds. */
  readonly members: readonly string[];
  /** Without members: the run waits for so many workers. */
  readonly waiting: { readonly workers: number; readonly bucket: 'queued' | 'recovering' } | undefined;
}

/** Who takes part in a run, and what its waiting is. A run that has ended has neither. */
export function membershipOf({ workers }: Pick<ClusterState, 'workers'>, { state, live }: Run): Membership {
  const { runId, config } = state;
  switch (live.state) {
    case 'ended':
      return { members: [], waiting: undefined };
    case 'waiting': {
      const bucket = state.isInterrupted || state.failure !== undefined ? 'recovering' : 'queued';
      return { members: [], waiting: { workers: config.workers + config.expertWorkers, bucket } };
    }
    case 'training':
      return { members: [...live.members, ...live.experts], waiting: undefined };
    case 'reforming': {
      const members = [...live.survivors, ...live.experts].filter((id) => workers.get(id)?.runId === runId);
      return { members, waiting: undefined };
    }
  }
}

interface Member {
  readonly sinceMs: number;
  /** Since then, as the worker last reported. */
  reported: WorkTime;
  bucket: TimeBucket;
  /** When it left; its last report may still come. */
  endMs: number | undefined;
}

/** How long the last report of a worker that has left is awaited. */
const LAST_REPORT_MS = 10_000;

/**
 * The time of one run: every second of every worker in one bucket, from the launch on, over all generations and
 * coordinators. Workers report what they do; the clock of the coordinator says how long they were members. What they have
 * not reported is on what they did last. A lost worker's last report is some seconds old: up to the last step that was
 * committed it did what it had reported of steps before, and after that it was recovering.
 */
export class WorkTimes {
  #closed: WorkTime;
  #heldSeconds: number;
  readonly #members = new Map<string, Member>();
  #waiting: { readonly workers: number; readonly bucket: TimeBucket; readonly sinceMs: number } | undefined;
  #committedMs = Number.NEGATIVE_INFINITY;

  /** Goes on where a coordinator left off; until the first `follow`, which that one did not see, its workers spend their time on recovering. */
  constructor(stored?: StoredWorkTimes) {
    this.#closed = { ...noTime(), ...stored?.spent };
    this.#heldSeconds = stored?.heldSeconds ?? 0;
    const { open = null, atMs = 0 } = stored ?? {};
    if (open === null) return;
    this.#waiting = { workers: open.workers, bucket: open.areHeld ? 'recovering' : open.bucket, sinceMs: atMs };
  }

  /** @param isConnected whether a worker that is no member any more is still there */
  follow(nowMs: number, { members, waiting }: Membership, isConnected: (workerId: string) => boolean): void {
    for (const [workerId, member] of this.#members) {
      if (member.endMs !== undefined && (members.includes(workerId) || nowMs - member.endMs > LAST_REPORT_MS))
        this.#close(workerId, member, member.endMs);
      if (member.endMs !== undefined || members.includes(workerId)) continue;
      if (isConnected(workerId)) member.endMs = nowMs;
      else this.#lose(workerId, member, nowMs);
    }
    for (const workerId of members)
      if (!this.#members.has(workerId))
        this.#members.set(workerId, { sinceMs: nowMs, reported: noTime(), bucket: 'starting', endMs: undefined });
    if (waiting?.workers === this.#waiting?.workers && waiting?.bucket === this.#waiting?.bucket) return;
    if (this.#waiting !== undefined) this.#closed = addTime(this.#closed, this.#waited(nowMs));
    this.#waiting = waiting && { ...waiting, sinceMs: nowMs };
  }

  /** A step is committed: its members have worked on it. */
  committed(nowMs: number): void {
    this.#committedMs = nowMs;
  }

  /** Whether workers are with the run, or have just left it. */
  get hasMembers(): boolean {
    return this.#members.size > 0;
  }

  /** A member's own account of its time since it was assigned to the run. */
  report(workerId: string, spent: WorkTime, bucket: TimeBucket): void {
    const member = this.#members.get(workerId);
    if (member === undefined) return;
    member.reported = spent;
    member.bucket = bucket;
    if (member.endMs !== undefined) this.#close(workerId, member, member.endMs);
  }

  /** All of it until now. */
  spent(nowMs: number): WorkTime {
    let sum = addTime(this.#closed, this.#waited(nowMs));
    for (const member of this.#members.values()) sum = addTime(sum, timeOf(member, member.endMs ?? nowMs));
    return sum;
  }

  /** What workers have reported, and waits: it only grows. */
  reported(nowMs: number): WorkTime {
    let sum = addTime(this.#closed, this.#waited(nowMs));
    for (const { reported } of this.#members.values()) sum = addTime(sum, reported);
    return sum;
  }

  /** Seconds of workers that the run had. */
  heldSeconds(nowMs: number): number {
    let sum = this.#heldSeconds;
    for (const { sinceMs, endMs = nowMs } of this.#members.values()) sum += (endMs - sinceMs) / 1000;
    return sum;
  }

  stored(nowMs: number): StoredWorkTimes {
    const present = [...this.#members.values()].filter(({ endMs }) => endMs === undefined).length;
    const open =
      present > 0
        ? ({ workers: present, bucket: 'recovering', areHeld: true } as const)
        : this.#waiting && { workers: this.#waiting.workers, bucket: this.#waiting.bucket, areHeld: false };
    return { spent: this.spent(nowMs), heldSeconds: this.heldSeconds(nowMs), atMs: nowMs, open: open ?? null };
  }

  #close(workerId: string, member: Member, endMs: number): void {
    this.#members.delete(workerId);
    this.#closed = addTime(this.#closed, timeOf(member, endMs));
    this.#heldSeconds += (endMs - member.sinceMs) / 1000;
  }

  #lose(workerId: string, member: Member, nowMs: number): void {
    const { sinceMs, reported } = member;
    const reportedMs = sinceMs + totalSeconds(reported) * 1000;
    const unreported = Math.max(0, Math.min(this.#committedMs, nowMs) - reportedMs) / 1000;
    const known = addTime(reported, ofSteps(reported), unreported);
    this.#close(workerId, { ...member, reported: known, bucket: 'recovering' }, nowMs);
  }

  #waited(nowMs: number): WorkTime {
    const time = noTime();
    if (this.#waiting === undefined) return time;
    const { workers, bucket, sinceMs } = this.#waiting;
    time[bucket] = (workers * Math.max(0, nowMs - sinceMs)) / 1000;
    return time;
  }
}

/** Buckets that steps are made of. */
const STEP_BUCKETS = [
  'computing',
  'communicating',
  'waitingForData',
  'waitingForStraggler',
  'waitingForExperts',
  'checkpointing',
  'evaluating',
] as const satisfies readonly TimeBucket[];

/** What a second of its steps was spent on. */
function ofSteps(reported: WorkTime): WorkTime {
  const second = noTime();
  const total = STEP_BUCKETS.reduce((sum, bucket) => sum + reported[bucket], 0);
  if (total === 0) second.computing = 1;
  else for (const bucket of STEP_BUCKETS) second[bucket] = reported[bucket] / total;
  return second;
}

/** What a member reported, brought to the length of its membership by the clock of the coordinator. */
function timeOf({ sinceMs, reported, bucket }: Member, endMs: number): WorkTime {
  const seconds = Math.max(0, (endMs - sinceMs) / 1000);
  const known = totalSeconds(reported);
  const missing = noTime();
  if (known <= seconds) missing[bucket] = seconds - known;
  return known <= seconds ? addTime(reported, missing) : addTime(noTime(), reported, seconds / known);
}
