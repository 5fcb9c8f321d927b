import { beforeEach, describe, expect, it } from 'vitest';
import type { ToldProgress } from './cluster-state.js';
import { stepDeadlineMs } from './step-watch.js';
import { DecideHarness, RUN } from './testing/decide-harness.js';
import type { tinyConfig } from './testing/tiny-config.js';

const atData = { parts: 0, phase: 'waitingForData', lastEvent: 'apply' } as const;
const inRing = { parts: 2, phase: 'communicating', lastEvent: 'gradients', ringOperations: 4 } as const;
const behindInRing = { ...inRing, ringOperations: 3 } as const;

describe('a rank that hangs', () => {
  let harness: DecideHarness;
  beforeEach(() => start());

  /** Eight steps of 100 ms. */
  function start(changes: Parameters<typeof tinyConfig>[0] = {}): void {
    harness = new DecideHarness();
    harness.connect('a', 'east/b', 'c');
    harness.launch({ workers: 3, steps: 400, checkpoint: { everySteps: 1000 }, ...changes });
    trainFor(8, 100);
  }

  /** Steps that take so long each. */
  function trainFor(steps: number, stepMs: number): void {
    for (let i = 0; i < steps; i++) {
      harness.advance(stepMs, ...harness.members);
      harness.train(1);
    }
  }

  /** Time passes while workers tell where they are, without any progress. */
  function stand(
    durationMs: number,
    told: Readonly<Record<string, Partial<ToldProgress>>>,
    blocked: string[] = [],
  ): void {
    for (let passed = 0; passed < durationMs; passed += 500) {
      harness.advance(500, ...blocked);
      for (const [workerId, each] of Object.entries(told))
        harness.tell(workerId, { lastEventSeconds: (passed + 500) / 1000, ...each });
    }
  }

  /** b has ended what it did when it was left out. */
  function becomeFree(): void {
    harness.advance(100, 'a', 'c', 'east/b');
    harness.tell('east/b', { runId: '', phase: 'idle' });
    harness.advance(100, 'a', 'c', 'east/b');
  }

  const hung = () => harness.log.filter((record) => record.kind === 'hung');

  it('and sends nothing, as when it is stopped, is named with all one knows and left out within 5 seconds', () => {
    harness.tell('east/b');
    stand(4500, { a: inRing, c: inRing });
    expect(hung()).toEqual([
      expect.objectContaining({
        generation: 1,
        rank: 0,
        workerId: 'east/b',
        hostName: 'east',
        step: 9,
        phase: 'computing',
      }),
    ]);
    const said = harness.commandsOf('notify').at(-1)?.sentence;
    expect(said).toMatch(
      /^rank 0 \(east\/b on east\) hangs in step 9: it has sent nothing for 4\.\d s; it was computing, /,
    );
    expect(said).toMatch(/and the last it did was data of step 9, 4\.\d s ago$/);
    expect(harness.lastCommand('dismiss')?.workerId).toBe('east/b');
    harness.advance(500, 'a', 'c');
    expect(harness.members).toEqual(['a', 'c']);
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 9, startFrom: { kind: 'keep' } });
  });

  it('in its loader is named within 5 seconds, left out, and joins again once it is free', () => {
    stand(4500, { a: inRing, c: inRing, 'east/b': atData });
    expect(hung()).toMatchObject([{ workerId: 'east/b', phase: 'waitingForData' }]);
    expect(harness.members).toEqual(['east/b', 'a', 'c']);
    // It may only be slow.
    stand(28_000, { a: inRing, c: inRing, 'east/b': { ...atData, lastEventSeconds: 6 } });
    expect(harness.members).toHaveLength(3);
    stand(2000, { a: inRing, c: inRing, 'east/b': { ...atData, lastEventSeconds: 34 } });
    expect(harness.members).toEqual(['a', 'c']);
    expect(harness.commandsOf('release')).toContainEqual(
      expect.objectContaining({ workerIds: ['east/b'], discardState: true }),
    );
    expect(harness.log.at(-2)).toMatchObject({ kind: 'workerLost', workerId: 'east/b' });
    // As long as it hangs it is asked for nothing but where it is.
    trainFor(30, 100);
    harness.advance(3000, 'a', 'c', 'east/b');
    expect(harness.commandsOf('prepare')).toEqual([]);
    expect(harness.lastCommand('askProgress')?.workerIds).toEqual(['east/b']);
    becomeFree();
    expect(hung()).toHaveLength(1);
    expect(harness.lastCommand('prepare')?.workerId).toBe('east/b');
    harness.prepared('east/b');
    harness.train(1);
    expect(harness.members).toEqual(['east/b', 'a', 'c']);
  });

  it('with its event loop blocked is known by the heartbeats beside its stream', () => {
    stand(5000, { a: inRing, c: inRing }, ['east/b']);
    expect(hung()).toMatchObject([
      { workerId: 'east/b', reason: expect.stringMatching(/^does not answer: its event loop is blocked/) },
    ]);
  });

  it('in a collective is the one that has sent the least', () => {
    const rest = { a: { ...inRing, ringBytes: 3e6 }, c: { ...inRing, ringBytes: 2.5e6 } };
    stand(4500, { ...rest, 'east/b': { ...inRing, ringBytes: 2e6 } });
    expect(hung()).toMatchObject([{ workerId: 'east/b', phase: 'communicating' }]);
  });

  it('is none that compiles, evaluates or saves', () => {
    for (const phase of ['compiling', 'evaluating', 'checkpointing', 'recovering'] as const)
      stand(8000, { a: inRing, c: inRing, 'east/b': { ...atData, phase } });
    expect(hung()).toEqual([]);
  });

  it('is none that gets on in a ring that is slow', () => {
    for (let mega = 1; mega < 20; mega++) {
      const sent = (bytes: number) => ({ ...inRing, ringBytes: bytes * 1e6 });
      stand(500, { a: sent(mega + 1), c: sent(mega + 1), 'east/b': sent(mega) });
    }
    expect(hung()).toEqual([]);
  });

  it('is none where all wait for the same thing, or the coordinator itself stood still', () => {
    stand(20_000, { a: atData, c: atData, 'east/b': atData });
    expect(hung()).toEqual([]);
    harness.train(1);
    harness.nowMs += 60_000;
    harness.advance(1000, 'a', 'c', 'east/b');
    expect(hung()).toEqual([]);
    expect(harness.members).toHaveLength(3);
  });

  it('is only named where it is one of many: what they wait for is at fault', () => {
    stand(20_000, { a: atData, c: inRing, 'east/b': atData });
    expect(hung().map(({ workerId }) => workerId)).toEqual(['east/b', 'a']);
    expect(harness.members).toHaveLength(3);
  });

  it('is given the time that steps of this run take', () => {
    trainFor(20, 4000);
    stand(5500, { a: inRing, c: inRing, 'east/b': atData });
    expect(hung()).toEqual([]);
    stand(3000, { a: inRing, c: inRing, 'east/b': { ...atData, lastEventSeconds: 8 } });
    expect(hung()).toMatchObject([{ workerId: 'east/b' }]);
  });

  it('is not asked again to join the run after the third time', () => {
    for (let times = 1; times <= 3; times++) {
      stand(8000, { a: inRing, c: inRing, 'east/b': behindInRing });
      expect(harness.members, `time ${times}`).toEqual(['a', 'c']);
      harness.clearCommands();
      becomeFree();
      if (times === 3) break;
      harness.prepared('east/b');
      trainFor(8, 100);
      expect(harness.members).toHaveLength(3);
    }
    expect(harness.commandsOf('prepare')).toEqual([]);
  });

  it('is asked again where it was well for many steps in between', () => {
    for (let times = 1; times <= 3; times++) {
      stand(8000, { a: inRing, c: inRing, 'east/b': behindInRing });
      expect(harness.members, `time ${times}`).toEqual(['a', 'c']);
      becomeFree();
      harness.prepared('east/b');
      trainFor(52, 100);
      expect(harness.members).toHaveLength(3);
    }
  });

  it('is none right after a long evaluation, from whose end its time counts', () => {
    stand(60_000, { a: inRing, c: inRing, 'east/b': { ...atData, phase: 'evaluating' } });
    stand(2000, { a: inRing, c: inRing, 'east/b': { ...behindInRing, lastEventSeconds: 2 } });
    expect(hung()).toEqual([]);
    stand(2000, { a: inRing, c: inRing, 'east/b': { ...behindInRing, lastEventSeconds: 4 } });
    expect(hung()).toMatchObject([{ workerId: 'east/b' }]);
    expect(harness.members).toHaveLength(3);
    stand(3500, { a: inRing, c: inRing, 'east/b': { ...behindInRing, lastEventSeconds: 8 } });
    expect(harness.members).toEqual(['a', 'c']);
  });

  it('is none whose answer is on its way while the others have got on', () => {
    stand(3500, { a: inRing, c: inRing, 'east/b': inRing });
    harness.advance(700, 'east/b');
    for (const workerId of ['a', 'c']) harness.tell(workerId, { ...inRing, ringOperations: 5 });
    harness.advance(600, 'a', 'c', 'east/b');
    expect(hung()).toEqual([]);
  });

  it('is none of which only one answer shows where it is', () => {
    stand(3500, { a: inRing, c: inRing, 'east/b': inRing });
    harness.advance(700, 'a', 'c', 'east/b');
    for (const workerId of ['a', 'c']) harness.tell(workerId, { ...inRing, ringOperations: 6, lastEventSeconds: 2 });
    harness.tell('east/b', { ...inRing, ringOperations: 5, lastEventSeconds: 2 });
    harness.advance(900, 'a', 'c', 'east/b');
    expect(hung()).toEqual([]);
  });

  it('is none where steps become ten times as long, for which they are soon given the time', () => {
    trainFor(20, 2000);
    for (let steps = 1; steps <= 6; steps++) {
      stand(18_000, { a: inRing, c: inRing, 'east/b': { phase: 'computing' } });
      harness.train(1);
    }
    expect(harness.members).toHaveLength(3);
    expect(hung().length).toBeLessThanOrEqual(3);
  });

  it('is none that evaluates, or goes on after a step that was evaluated or saved, without an answer', () => {
    harness.tell('east/b', { phase: 'evaluating' });
    stand(10_000, { a: inRing, c: inRing }, ['east/b']);
    for (const changes of [
      { evaluation: { everySteps: 8, sequencesPerSource: 1 } },
      { checkpoint: { everySteps: 8 } },
    ]) {
      expect(hung()).toEqual([]);
      expect(harness.members).toHaveLength(3);
      start(changes);
      stand(10_000, { a: inRing, c: inRing }, ['east/b']);
    }
    expect(hung()).toEqual([]);
  });

  it('with its event loop blocked may be computing: it lives, and gets its time', () => {
    stand(30_000, { a: inRing, c: inRing }, ['east/b']);
    expect(hung()).toHaveLength(1);
    expect(harness.members).toHaveLength(3);
    stand(6000, { a: inRing, c: inRing }, ['east/b']);
    expect(harness.members).toEqual(['a', 'c']);
  });

  it.each([2000, 3000, 5000])('is none where the coordinator stood still or its clock was set ahead by %d ms', (ms) => {
    harness.advance(2000);
    harness.nowMs += ms;
    harness.advance(1900);
    expect(hung()).toEqual([]);
    expect(harness.members).toHaveLength(3);
  });

  it('is none of those that were heard just before the clock was set back by little', () => {
    harness.nowMs += 90;
    for (const workerId of harness.members) harness.hear(workerId);
    harness.nowMs -= 20;
    harness.handle({ kind: 'tick' });
    expect(harness.commandsOf('dismiss')).toEqual([]);
    expect(harness.members).toHaveLength(3);
  });

  it('with all others in one collective breaks the ring, which forms again', () => {
    stand(20_000, { a: inRing, c: inRing, 'east/b': inRing });
    expect(harness.log.findLast((record) => record.kind === 'ringBroke')).toMatchObject({
      reason: expect.stringMatching(/^no rank has got on in its collective for/),
    });
    harness.advance(500, 'a', 'c', 'east/b');
    expect(harness.view(RUN)).toMatchObject({ generation: 2, worldSize: 3 });
  });
});

describe('the deadline of a step', () => {
  it('follows the median of the last steps and how far they lie from it', () => {
    expect(stepDeadlineMs([100, 100, 100, 100])).toBeUndefined();
    expect(stepDeadlineMs([100, 100, 110, 90, 100])).toBe(3000);
    expect(stepDeadlineMs([60_000, 60_000, 60_000, 60_000, 60_000])).toBe(90_000);
    // Steps that have become slower count soon.
    expect(stepDeadlineMs([...Array<number>(45).fill(2000), 20_000, 20_000, 20_000])).toBe(30_000);
    // Deviations of 0, 1, 1, 2 and 2 s: a median of 1 s.
    expect(stepDeadlineMs([8000, 9000, 10_000, 11_000, 12_000])).toBeCloseTo(10_000 + 8 * 1482.6, 5);
  });
});
