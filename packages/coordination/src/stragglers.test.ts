import { beforeEach, describe, expect, it } from 'vitest';
import { DecideHarness } from './testing/decide-harness.js';

describe('a rank that is slower than the others', () => {
  let harness: DecideHarness;
  beforeEach(() => {
    harness = new DecideHarness();
    harness.connect('a', 'b', 'c', 'd');
  });

  const launch = (policy: 'warn' | 'leaveOut', minWorkers: number | null = null) =>
    harness.launch({
      ...{ workers: 3, minWorkers, steps: 100, checkpoint: { everySteps: 50 } },
      stragglers: { factor: 1.5, steps: 4, policy },
    });

  /** Steps in which b takes so many times as long as the others. */
  function train(steps: number, factor: number, part: 'dataSeconds' | 'computeSeconds' = 'computeSeconds'): void {
    for (let i = 0; i < steps; i++)
      for (const workerId of harness.members) {
        const usual = { dataSeconds: 0.02, computeSeconds: 0.2 };
        const more = workerId === 'b' ? { [part]: usual[part] + 0.22 * (factor - 1) } : {};
        harness.vote(workerId, { ...usual, ...more });
      }
  }

  const named = () => harness.log.filter((record) => record.kind === 'straggler');

  it('is named once it was so for some steps, with how much and what took it longer', () => {
    launch('warn');
    train(3, 2);
    expect(named()).toEqual([]);
    train(5, 2);
    expect(named()).toMatchObject([{ rank: 1, workerId: 'b', step: 4, steps: 4, factor: 2, part: 'compute' }]);
    expect(harness.lastCommand('notify')?.sentence).toBe(
      'rank 1 (b on host) was slow for 4 steps in a row: it took 2 times as long as the others in step 4, most of it computing',
    );
    expect(harness.members).toEqual(['a', 'b', 'c']);
    // Another streak is another matter.
    train(1, 1);
    train(4, 3, 'dataSeconds');
    expect(named()).toMatchObject([{}, { step: 13, factor: 3, part: 'data' }]);
  });

  it('is none where it is slow now and then, a little slower, or slower by less than anyone notices', () => {
    launch('warn');
    for (let i = 0; i < 4; i++) {
      train(3, 2);
      train(1, 1);
    }
    train(8, 1.4);
    for (let i = 0; i < 8; i++)
      for (const workerId of harness.members)
        harness.vote(workerId, { computeSeconds: workerId === 'b' ? 0.05 : 0.01 });
    expect(named()).toEqual([]);
  });

  it('is left out at the end of that step where the configuration says so, and another takes its place', () => {
    launch('leaveOut');
    harness.advance(100, 'a', 'b', 'c', 'd');
    train(4, 2);
    expect(named()).toMatchObject([{ workerId: 'b', isLeftOut: true }]);
    expect(harness.members).toEqual(['a', 'c']);
    expect(harness.lastCommand('endGeneration')?.afterStep).toBe(4);
    expect(harness.lastCommand('prepare')?.workerId).toBe('d');
    harness.prepared('d');
    train(1, 1);
    expect(harness.members).toEqual(['a', 'c', 'd']);
    expect(harness.view()).toMatchObject({ status: 'running', step: 5 });
  });

  it('stays where too few would be left', () => {
    launch('leaveOut', 3);
    train(8, 2);
    expect(named()).toMatchObject([{ workerId: 'b' }]);
    expect(named()[0]).not.toHaveProperty('isLeftOut');
    expect(harness.members).toEqual(['a', 'b', 'c']);
  });
});
