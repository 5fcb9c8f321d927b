import { hostname } from 'node:os';
import { refuse, WeftError } from '@weft/common';
import type { ClusterEvent, ClusterState, Decision } from '@weft/coordination';
import {
  type ClockReply,
  type CoordinatorMessage,
  type ProfiledProcess,
  type ProfilePart,
  type ProfileRequest,
  type ProfileSpan,
  type ProfileUpdate,
  Role,
} from '@weft/proto';
import { processNowMs } from '@weft/telemetry';

/** A profile is a picture of a few steps; of more of them nobody sees a bar. */
const MOST_STEPS = 100;
/** How often the clocks of workers are asked for: an answer that comes while nothing computes is the best. */
const PROBE_MS = 50;
/** More of one process are not kept, whatever it sends. */
const MOST_SPANS = 50_000;
/** So many spans go into one message. */
const SPANS_PER_MESSAGE = 2000;

interface ProfilesOptions {
  /** As of the last decision. */
  readonly stateOf: () => ClusterState;
  readonly send: (workerId: string, message: CoordinatorMessage) => void;
  /** Default: that of this process. */
  readonly nowMs?: () => number;
}

/** Profiles of runs: asks all processes what they do in some steps, and brings their clocks together. It changes no decision. */
export class Profiles {
  readonly #options: ProfilesOptions;
  readonly #nowMs: () => number;
  /** By run. */
  readonly #open = new Map<string, OpenProfile>();
  #created = 0;

  constructor(options: ProfilesOptions) {
    this.#options = options;
    this.#nowMs = options.nowMs ?? processNowMs;
  }

  /**
   * What the processes of a run do in its next steps; ends when each has sent it, or is gone.
   *
   * @throws WeftError `not_found`, `invalid_argument`, or `failed_precondition` for a run that does not train, is about to end, or
   *   is profiled already
   */
  async *record({ runId, steps }: ProfileRequest, signal: AbortSignal): AsyncGenerator<ProfileUpdate, void, undefined> {
    const profile = this.#begin(runId, steps);
    const leave = () => profile.wake();
    signal.addEventListener('abort', leave, { once: true });
    const probe = () => {
      for (const workerId of profile.silent)
        this.#send(workerId, {
          $case: 'clockProbe',
          clockProbe: { profileId: profile.id, coordinatorMs: this.#nowMs() },
        });
    };
    probe();
    const probing = setInterval(probe, PROBE_MS);
    try {
      const { firstStep, lastStep, processes } = profile;
      yield { body: { $case: 'plan', plan: { firstStep, lastStep, processes: processes.size + 1 } } };
      while (!signal.aborted) {
        for (const finished of profile.take()) yield* messagesOf(finished);
        if (profile.silent.length === 0) break;
        await profile.changed();
      }
      for (const finished of profile.take()) yield* messagesOf(finished);
      if (!signal.aborted) yield* messagesOf(profile.ofCoordinator());
    } finally {
      clearInterval(probing);
      signal.removeEventListener('abort', leave);
      this.#open.delete(runId);
    }
  }

  /** What a worker recorded. */
  received(workerId: string, part: ProfilePart): void {
    this.#profile(part.profileId)?.received(workerId, part);
  }

  /** The answer of a worker's clock. */
  clockReplied(workerId: string, { profileId, coordinatorMs, workerMs }: ClockReply): void {
    this.#profile(profileId)?.clockReplied(workerId, { askedMs: coordinatorMs, workerMs, answeredMs: this.#nowMs() });
  }

  /** A worker is not connected any more. */
  left(workerId: string): void {
    for (const profile of this.#open.values()) profile.left(workerId);
  }

  /** After every decision: votes and checkpoints, as the coordinator sees them. */
  observe({ records }: Decision, event: ClusterEvent): void {
    if (this.#open.size === 0) return;
    if ('runId' in event) this.#open.get(event.runId)?.saw(event, this.#nowMs());
    for (const { runId, record } of records)
      if (record.kind === 'committed') this.#open.get(runId)?.committed(record.entry.step, this.#nowMs());
  }

  #begin(runId: string, asked: number): OpenProfile {
    const { runs, workers } = this.#options.stateOf();
    const run = runs.get(runId);
    if (run === undefined)
      throw new WeftError('not_found', `there is no run ${JSON.stringify(runId)}`, {
        hint: 'list the runs with `weft ls`',
      });
    if (!(asked >= 1 && asked <= MOST_STEPS))
      refuse('invalid_argument', `a profile has from 1 to ${MOST_STEPS} steps, not ${asked}`, 'ask for fewer steps');
    const { live, state } = run;
    if (live.state !== 'training')
      refuse(
        'failed_precondition',
        `run ${runId} does not train now, so there is nothing to profile`,
        'ask again while it trains',
      );
    if (this.#open.has(runId))
      refuse('failed_precondition', `run ${runId} is profiled already`, 'wait until that profile has ended');
    // Some ranks may have begun the step after the last committed one; none can have begun that after it.
    const firstStep = state.step + 2;
    const lastStep = Math.min(firstStep + asked - 1, state.config.steps);
    if (firstStep > lastStep)
      refuse('failed_precondition', `run ${runId} ends before another step could be profiled`, 'profile a longer run');
    const profile = new OpenProfile(`${runId}-${++this.#created}`, firstStep, lastStep);
    const members = [
      ...live.members.map((workerId, rank) => ({ workerId, rank, role: Role.ROLE_RANK })),
      ...live.experts.map((workerId, rank) => ({ workerId, rank, role: Role.ROLE_EXPERT_WORKER })),
    ];
    this.#open.set(runId, profile);
    const { generation } = live;
    for (const { workerId, rank, role } of members) {
      profile.add({ workerId, rank, role, hostName: workers.get(workerId)?.hostName ?? '' });
      const message = { profileId: profile.id, runId, generation, firstStep, lastStep };
      this.#send(workerId, { $case: 'profile', profile: message });
    }
    return profile;
  }

  #send(workerId: string, body: NonNullable<CoordinatorMessage['body']>): void {
    this.#options.send(workerId, { body });
  }

  #profile(profileId: string): OpenProfile | undefined {
    return [...this.#open.values()].find(({ id }) => id === profileId);
  }
}

type Member = Pick<ProfiledProcess, 'workerId' | 'hostName' | 'role' | 'rank'>;

/** One question to a worker's clock: sent and answered by the coordinator's clock, and when it came by the worker's. */
export interface ClockSample {
  readonly askedMs: number;
  readonly workerMs: number;
  readonly answeredMs: number;
}

/**
 * What to add to a worker's times. The question came somewhere between its sending and its answer, so half of the shortest round
 * trip is the most by which the middle of it is wrong.
 *
 * @returns an error of -1 without a sample
 */
export function clockOffset(samples: readonly ClockSample[]): { readonly offsetMs: number; readonly errorMs: number } {
  const [best] = samples.toSorted((a, b) => tripOf(a) - tripOf(b));
  if (best === undefined) return { offsetMs: 0, errorMs: -1 };
  return { offsetMs: (best.askedMs + best.answeredMs) / 2 - best.workerMs, errorMs: tripOf(best) / 2 };
}

const tripOf = ({ askedMs, answeredMs }: ClockSample) => answeredMs - askedMs;

/** A process whose spans are not all there yet. */
interface Pending extends Member {
  readonly spans: ProfileSpan[];
  /** The one with the shortest trip: a worker may answer as often as it likes. */
  quickest: ClockSample | undefined;
  leftOut: number;
}

/** A profile that is being recorded. */
class OpenProfile {
  readonly id: string;
  readonly firstStep: number;
  readonly lastStep: number;
  /** By worker. */
  readonly processes = new Map<string, Pending>();
  readonly #finished = new Set<string>();
  #ready: ProfiledProcess[] = [];
  readonly #own: ProfileSpan[] = [];
  #firstVoteMs: number | undefined;
  wake: () => void = () => {};

  constructor(id: string, firstStep: number, lastStep: number) {
    this.id = id;
    this.firstStep = firstStep;
    this.lastStep = lastStep;
  }

  /** The workers that have not sent everything. */
  get silent(): readonly string[] {
    return [...this.processes.keys()].filter((workerId) => !this.#finished.has(workerId));
  }

  add(member: Member): void {
    this.processes.set(member.workerId, { ...member, spans: [], quickest: undefined, leftOut: 0 });
  }

  clockReplied(workerId: string, sample: ClockSample): void {
    const process = this.processes.get(workerId);
    if (process === undefined) return;
    if (process.quickest === undefined || tripOf(sample) < tripOf(process.quickest)) process.quickest = sample;
  }

  received(workerId: string, { spans, leftOut, isLast }: ProfilePart): void {
    const process = this.processes.get(workerId);
    if (process === undefined || this.#finished.has(workerId)) return;
    const kept = spans.slice(0, Math.max(0, MOST_SPANS - process.spans.length));
    process.spans.push(...kept);
    process.leftOut += leftOut + spans.length - kept.length;
    if (isLast) this.#finish(process, '');
  }

  left(workerId: string): void {
    const process = this.processes.get(workerId);
    if (process !== undefined && !this.#finished.has(workerId)) this.#finish(process, 'it was lost');
  }

  /** What has come since the last call. */
  take(): readonly ProfiledProcess[] {
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  changed(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
      if (this.#ready.length > 0) resolve();
    });
  }

  saw(event: ClusterEvent, nowMs: number): void {
    if (event.kind === 'voted') {
      this.#firstVoteMs ??= nowMs;
      this.#note('votes', `vote of rank ${this.processes.get(event.workerId)?.rank ?? '?'}`, nowMs, nowMs);
    }
    if (event.kind === 'partSaved') this.#note('checkpoints', `part of step ${event.step}`, nowMs, nowMs);
    if (event.kind === 'manifestWritten') this.#note('checkpoints', `checkpoint ${event.step}`, nowMs, nowMs);
  }

  committed(step: number, nowMs: number): void {
    if (step >= this.firstStep && step <= this.lastStep)
      this.#note('votes', `step ${step} is voted`, this.#firstVoteMs ?? nowMs, nowMs);
    this.#firstVoteMs = undefined;
  }

  /** What the coordinator did itself. */
  ofCoordinator(): ProfiledProcess {
    return {
      workerId: '',
      hostName: hostname(),
      role: Role.ROLE_UNSPECIFIED,
      rank: 0,
      spans: this.#own,
      leftOut: 0,
      clockOffsetMs: 0,
      clockErrorMs: 0,
      lost: '',
    };
  }

  #note(track: string, name: string, beginMs: number, endMs: number): void {
    this.#own.push({ track, name, beginMs, durationMs: endMs - beginMs, detailsJson: '' });
  }

  #finish({ spans, quickest, leftOut, ...member }: Pending, lost: string): void {
    this.#finished.add(member.workerId);
    const { offsetMs, errorMs } = clockOffset(quickest === undefined ? [] : [quickest]);
    const aligned = spans.map((span) => ({ ...span, beginMs: span.beginMs + offsetMs }));
    this.#ready.push({ ...member, spans: aligned, leftOut, clockOffsetMs: offsetMs, clockErrorMs: errorMs, lost });
    this.wake();
  }
}

function* messagesOf(process: ProfiledProcess): Generator<ProfileUpdate, void, undefined> {
  const { spans } = process;
  for (let first = 0; first === 0 || first < spans.length; first += SPANS_PER_MESSAGE) {
    const some = spans.slice(first, first + SPANS_PER_MESSAGE);
    yield { body: { $case: 'process', process: { ...process, spans: some } } };
  }
}
