import { type ProfiledProcess, type ProfileSpan, Role } from '@weft/proto';
import { describe, expect, it } from 'vitest';
import { chromeTrace } from './chrome-trace.js';

const span = (track: string, name: string, beginMs: number, durationMs: number, detailsJson = ''): ProfileSpan => ({
  ...{ track, name, beginMs, durationMs, detailsJson },
});

const process = (role: Role, rank: number, spans: ProfileSpan[]): ProfiledProcess => ({
  ...{ workerId: `w${rank}`, hostName: 'here', role, rank, spans, leftOut: 0 },
  ...{ clockOffsetMs: 0.5, clockErrorMs: 0.25, lost: '' },
});

const subject = { runId: 'run-a', firstStep: 3, lastStep: 4 };
const ORIGIN = 1_795_000_000_000;

function traceOf(...processes: ProfiledProcess[]) {
  const { traceEvents, otherData } = chromeTrace(subject, processes);
  const named = (name: string) => traceEvents.filter((event) => event.ph === 'M' && event.name === name);
  const tracks = named('thread_name').map(({ pid, tid, args }) => ({ pid, tid, name: args?.name }));
  return { traceEvents, otherData, tracks, processes: named('process_name').map(({ args }) => args?.name) };
}

describe('a trace', () => {
  it('has the coordinator, the ranks and the expert workers on one time line that begins at 0', () => {
    const { traceEvents, processes, otherData } = traceOf(
      process(Role.ROLE_EXPERT_WORKER, 0, [span('step', 'serve', ORIGIN + 3, 1)]),
      process(Role.ROLE_RANK, 1, [span('step', 'step 3', ORIGIN + 1.25, 10, '{"bytes":7}')]),
      process(Role.ROLE_RANK, 0, [span('step', 'step 3', ORIGIN, 12)]),
      { ...process(Role.ROLE_UNSPECIFIED, 0, [span('votes', 'vote of rank 1', ORIGIN + 9, 0)]), workerId: '' },
    );
    expect(processes).toEqual([
      ...['coordinator · here', 'rank 0 · here · w0', 'rank 1 · here · w1', 'expert worker 0 · here · w0'],
    ]);
    const done = traceEvents.filter(({ ph }) => ph !== 'M');
    expect(done.map(({ ph, name, ts, dur, args }) => ({ ph, name, ts, dur, args }))).toEqual([
      { ph: 'i', name: 'vote of rank 1', ts: 9000, dur: undefined, args: undefined },
      { ph: 'X', name: 'step 3', ts: 0, dur: 12_000, args: undefined },
      { ph: 'X', name: 'step 3', ts: 1250, dur: 10_000, args: { bytes: 7 } },
      { ph: 'X', name: 'serve', ts: 3000, dur: 1000, args: undefined },
    ]);
    expect(otherData).toMatchObject({ firstStep: 3, clocks: [{ process: 'coordinator' }, { errorMs: 0.25 }, {}, {}] });
  });

  it('nests what lies in one another, and gives what overlaps a track of its own', () => {
    const { traceEvents, tracks } = traceOf(
      process(Role.ROLE_RANK, 0, [
        span('ring', 'bucket/0', ORIGIN + 10, 5),
        span('ring', 'bucket/1', ORIGIN + 12, 5),
        span('ring', 'bucket/2', ORIGIN + 15, 3),
        span('step', 'vote', ORIGIN + 18, 2),
        span('step', 'step 3', ORIGIN, 20),
        span('step', 'gradients', ORIGIN, 10),
      ]),
    );
    expect(tracks.map(({ name }) => name)).toEqual(['step', 'ring', 'ring 2']);
    const on = (name: string) => {
      const { tid } = tracks.find((track) => track.name === name) ?? {};
      return traceEvents.filter((event) => event.ph === 'X' && event.tid === tid).map((event) => event.name);
    };
    expect(on('step')).toEqual(['step 3', 'gradients', 'vote']);
    expect(on('ring')).toEqual(['bucket/0', 'bucket/2']);
    expect(on('ring 2')).toEqual(['bucket/1']);
  });

  it('takes for adjacent what the numbers of milliseconds since 1970 cannot tell apart', () => {
    const ends = [0, 3.3, 7.77, 11.113].map((at) => ORIGIN + at);
    const { tracks } = traceOf(
      process(Role.ROLE_RANK, 0, [
        span('step', 'step 3', ORIGIN, 11.1128),
        ...[0, 1, 2].map((at) => span('step', `${at}`, ends[at] ?? 0, (ends[at + 1] ?? 0) - (ends[at] ?? 0) + 2e-4)),
      ]),
    );
    expect(tracks.map(({ name }) => name)).toEqual(['step']);
  });

  it('never has two spans on a track that overlap without one holding the other', () => {
    let seed = 7;
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed / 2_147_483_647;
    };
    const spans = Array.from({ length: 500 }, (_, at) => span('ring', `${at}`, ORIGIN + 100 * random(), 5 * random()));
    const { traceEvents, tracks } = traceOf(process(Role.ROLE_RANK, 0, spans));
    for (const { tid } of tracks) {
      const open: number[] = [];
      for (const { ts = 0, dur = 0 } of traceEvents.filter((event) => event.ph === 'X' && event.tid === tid)) {
        while ((open.at(-1) ?? Infinity) <= ts + 1e-6) open.pop();
        expect(ts + dur).toBeLessThanOrEqual((open.at(-1) ?? Infinity) + 1e-6);
        open.push(ts + dur);
      }
    }
    expect(traceEvents.filter(({ ph }) => ph === 'X')).toHaveLength(500);
  });
});
