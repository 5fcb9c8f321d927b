import { type ProfiledProcess, type ProfileSpan, Role } from '@weft/proto';

// The trace event format of Chrome, which ui.perfetto.dev opens too
// ("Trace Event Format", docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU).

/** What the trace is of. */
export interface TraceSubject {
  readonly runId: string;
  readonly firstStep: number;
  readonly lastStep: number;
}

/** One line of the trace: a span, a moment, or the name of a process or track. Times are in microseconds. */
interface TraceEvent {
  readonly ph: 'X' | 'i' | 'M';
  readonly name: string;
  readonly pid: number;
  readonly tid?: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly s?: 't';
  readonly cat?: string;
  readonly args?: Readonly<Record<string, unknown>>;
}

/** The tracks of a process, from the top; others follow. */
const TRACKS = ['step', 'phases', 'buckets', 'ring', 'exchanges', 'checkpoints', 'votes'];

/**
 * All processes on one time line that begins at 0. Spans of a track that overlap without one holding the other lie on tracks of
 * their own, because the format nests what is on one.
 */
export function chromeTrace({ runId, firstStep, lastStep }: TraceSubject, processes: readonly ProfiledProcess[]) {
  const originMs = processes.reduce(
    (least, { spans }) => spans.reduce((sofar, { beginMs }) => Math.min(sofar, beginMs), least),
    Number.POSITIVE_INFINITY,
  );
  const ordered = processes.toSorted((a, b) => a.role - b.role || a.rank - b.rank);
  const clocks = ordered.map((process) => ({
    process: nameOf(process),
    offsetMs: process.clockOffsetMs,
    errorMs: process.clockErrorMs,
  }));
  return {
    displayTimeUnit: 'ms',
    otherData: { runId, firstStep, lastStep, clocks },
    traceEvents: ordered.flatMap((process, pid) => eventsOf(process, pid, originMs)),
  };
}

/** `rank 0`, `expert worker 1`, `coordinator`. */
export function nameOf({ role, rank }: Pick<ProfiledProcess, 'role' | 'rank'>): string {
  if (role === Role.ROLE_RANK) return `rank ${rank}`;
  return role === Role.ROLE_EXPERT_WORKER ? `expert worker ${rank}` : 'coordinator';
}

function eventsOf(process: ProfiledProcess, pid: number, originMs: number): TraceEvent[] {
  const { hostName, workerId, spans } = process;
  const name = [nameOf(process), hostName, workerId].filter((part) => part !== '').join(' · ');
  const tracks = [...new Set(spans.map(({ track }) => track))].sort((a, b) => orderOf(a) - orderOf(b));
  let tid = 0;
  const ofTracks = tracks.flatMap((track) => {
    const own = spans.filter((span) => span.track === track).map((span) => ({ span, ...microseconds(span, originMs) }));
    return lanes(own).flatMap((lane, at) => {
      tid++;
      return [
        metadata('thread_name', pid, tid, { name: at === 0 ? track : `${track} ${at + 1}` }),
        metadata('thread_sort_index', pid, tid, { sort_index: tid }),
        ...lane.map(({ span, ts, dur }) => toEvent(span, pid, tid, ts, dur)),
      ];
    });
  });
  return [
    metadata('process_name', pid, undefined, { name }),
    metadata('process_sort_index', pid, undefined, { sort_index: pid }),
    ...ofTracks,
  ];
}

const orderOf = (track: string) => (TRACKS.indexOf(track) + TRACKS.length + 1) % (TRACKS.length + 1);

function metadata(
  name: string,
  pid: number,
  tid: number | undefined,
  args: Readonly<Record<string, unknown>>,
): TraceEvent {
  return { ph: 'M', name, pid, ...(tid === undefined ? {} : { tid }), args };
}

function toEvent(
  { track, name, detailsJson }: ProfileSpan,
  pid: number,
  tid: number,
  ts: number,
  dur: number,
): TraceEvent {
  const args = detailsJson === '' ? {} : { args: JSON.parse(detailsJson) as Record<string, unknown> };
  const common = { name, pid, tid, ts, cat: track, ...args };
  return dur === 0 ? { ph: 'i', s: 't', ...common } : { ph: 'X', dur, ...common };
}

interface Placed {
  readonly span: ProfileSpan;
  readonly ts: number;
  readonly dur: number;
}

/** Milliseconds since 1970 have a quarter of a microsecond between one number and the next: ends and beginnings come that close. */
const NOISE_US = 1;

function microseconds({ beginMs, durationMs }: ProfileSpan, originMs: number): Pick<Placed, 'ts' | 'dur'> {
  return { ts: 1000 * (beginMs - originMs), dur: 1000 * durationMs };
}

/** Puts each span on the first lane where it lies behind the last one, or inside it. */
function lanes(spans: readonly Placed[]): Placed[][] {
  const placed: Lane[] = [];
  for (const span of spans.toSorted((a, b) => a.ts - b.ts || b.dur - a.dur)) {
    const lane = placed.find((each) => each.fits(span)) ?? new Lane();
    if (!placed.includes(lane)) placed.push(lane);
    lane.add(span);
  }
  return placed.map(({ events }) => events);
}

/** A track on which every two spans follow each other, or one holds the other. */
class Lane {
  readonly events: Placed[] = [];
  /** The ends of the spans that hold what comes next, the innermost last. */
  readonly #open: number[] = [];
  #lastEnd = 0;

  /** Spans come in the order of their beginning. */
  fits({ ts, dur }: Placed): boolean {
    while (this.#holds() <= ts + NOISE_US) this.#lastEnd = this.#open.pop() ?? 0;
    return ts + dur <= this.#holds() + NOISE_US;
  }

  add(span: Placed): void {
    const ts = rounded(Math.max(span.ts, Math.min(this.#lastEnd, span.ts + NOISE_US)));
    const end = Math.max(ts, rounded(Math.min(span.ts + span.dur, this.#holds())));
    this.events.push({ ...span, ts, dur: span.dur === 0 ? 0 : rounded(end - ts) });
    this.#open.push(end);
  }

  #holds(): number {
    return this.#open.at(-1) ?? Number.POSITIVE_INFINITY;
  }
}

const rounded = (microsecondsOfTrace: number) => Math.round(1000 * microsecondsOfTrace) / 1000;
