import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import type { ConnectedWorker } from './cluster-state.js';
import { areCut, chooseLeftOut } from './reachability.js';
import { DecideHarness } from './testing/decide-harness.js';

describe('workers that cannot reach each other', () => {
  let harness: DecideHarness;
  beforeEach(() => {
    harness = new DecideHarness();
    harness.connect('a', 'b', 'c');
    harness.launch({ workers: 3, steps: 40 });
    harness.train(2);
  });

  it('cost the run one of them, which is named, and which joins again once they do', () => {
    harness.cannotReach('b', 'c');
    harness.advance(500, 'a', 'b', 'c');
    expect(harness.members).toEqual(['a', 'b']);
    expect(harness.lastCommand('notify')?.sentence).toMatch(
      /^worker c on host is left out of run tiny-1: b and its data plane c:1 cannot reach each other$/,
    );
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 3, startFrom: { kind: 'keep' } });
    harness.prepared('c');
    harness.train(2);
    expect(harness.members).toEqual(['a', 'b']);
    harness.clearCommands();
    harness.advance(2500, 'a', 'b', 'c');
    expect(harness.lastCommand('probe')).toEqual({ kind: 'probe', workerId: 'b', addresses: ['c:1'] });
    harness.handle({ kind: 'probed', workerId: 'b', reached: ['c:1', 'x'.repeat(1000)] });
    expect(harness.reason).toContain('worker b reaches c:1 again');
    harness.train(1);
    expect(harness.members).toEqual(['a', 'b', 'c']);
  });

  it('cost the run only the one that the others cannot reach', () => {
    harness.cannotReach('b', 'a');
    harness.handle({
      kind: 'ringBroken',
      ...{ workerId: 'c', runId: 'tiny-1', generation: 1, step: 3, reason: 'gone', unreachable: ['a:1'] },
    });
    harness.advance(500, 'a', 'b', 'c');
    expect(harness.members).toEqual(['b', 'c']);
  });

  it('do not end the run', () => {
    for (let i = 0; i < 8; i++) {
      harness.cannotReach('b', 'c');
      harness.advance(500, 'a', 'b', 'c');
    }
    expect(harness.view()).toMatchObject({ status: 'running', worldSize: 2 });
  });

  it('are left out of a fresh run, for which an idle worker is there', () => {
    const fresh = new DecideHarness();
    fresh.connect('a', 'b', 'c');
    fresh.launch({ workers: 2 });
    fresh.cannotReach('a', 'b');
    fresh.advance(500, 'a', 'b', 'c');
    expect(fresh.members).toEqual(['a', 'c']);
    expect(fresh.lastCommand('assign')).toMatchObject({ startFrom: { kind: 'fresh' } });
  });

  it('are forgotten with their connection', () => {
    harness.cannotReach('b', 'c');
    harness.disconnect('c');
    harness.advance(3000, 'a', 'b');
    expect(harness.members).toEqual(['a', 'b']);
    expect(harness.state.workers.get('b')?.cannotReach).toBeUndefined();
  });
});

describe('those that are left out', () => {
  const edges = fc.uniqueArray(fc.tuple(fc.nat(6), fc.nat(6)), { maxLength: 9, selector: String });
  const workersOf = (cuts: readonly (readonly [number, number])[]) =>
    Array.from({ length: 7 }, (_, id): ConnectedWorker => {
      const cannotReach = cuts.flatMap(([a, b]) => (a === id && a !== b ? [`${b}`] : []));
      const dataPlaneAddress = `${id}`;
      return { workerId: `w${id}`, dataPlaneAddress, order: id, cannotReach } as unknown as ConnectedWorker;
    });

  it('are as few as can be, and without them everybody reaches everybody', () => {
    fc.assert(
      fc.property(edges, (cuts) => {
        const workers = workersOf(cuts);
        const leftOut = chooseLeftOut(workers);
        const rest = workers.filter((worker) => !leftOut.includes(worker));
        expect(rest.some((a) => rest.some((b) => a !== b && areCut(a, b)))).toBe(false);
        const isEnough = (mask: number) => {
          const kept = workers.filter((_, i) => (mask & (1 << i)) === 0);
          return !kept.some((a) => kept.some((b) => a !== b && areCut(a, b)));
        };
        const sizes = Array.from({ length: 128 }, (_, mask) => mask)
          .filter(isEnough)
          .map((mask) => mask.toString(2).replaceAll('0', '').length);
        expect(leftOut).toHaveLength(Math.min(...sizes));
      }),
      { numRuns: 100 },
    );
  });
});
