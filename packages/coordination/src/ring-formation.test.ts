import { describe, expect, it } from 'vitest';
import { DecideHarness, RUN } from './testing/decide-harness.js';

describe('forming the first ring', () => {
  it('waits until enough workers are idle, and says for how many', () => {
    const harness = new DecideHarness();
    harness.launch({ workers: 3 });
    expect(harness.view()).toMatchObject({ status: 'queued', worldSize: 0 });
    expect(harness.view().reason).toBe(
      'it was launched; it waits for 3 more workers: it needs 3, 0 are connected and 0 of them are idle',
    );
    harness.connect('a', 'b');
    expect(harness.view().reason).toContain(
      'waits for 1 more worker: it needs 3, 2 are connected and 2 of them are idle',
    );
    expect(harness.commandsOf('assign')).toEqual([]);
    harness.connect('c');
    expect(harness.view()).toMatchObject({ status: 'running', worldSize: 3, generation: 1 });
    expect(harness.view().reason).toBe('it trains step 1 of 6 on 3 workers');
  });

  it('sends every member its ring, its first step and the order to begin afresh', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch();
    const [assign] = harness.commandsOf('assign');
    expect(assign).toMatchObject({ runId: RUN, generation: 1, firstStep: 1, startFrom: { kind: 'fresh' } });
    expect(assign?.ring).toEqual([
      { workerId: 'a', address: 'a:1' },
      { workerId: 'b', address: 'b:1' },
    ]);
    expect(harness.log.map(({ kind }) => kind)).toEqual(['launched', 'assigned']);
  });

  it('puts the workers of one host side by side, those that came earlier first', () => {
    const harness = new DecideHarness();
    harness.connect('west/1', 'east/1', 'west/2', 'east/2', 'north/1');
    harness.launch({ workers: 4 });
    expect(harness.members).toEqual(['east/1', 'east/2', 'west/1', 'west/2']);
  });

  it('starts queued runs in the order of launch, and lets a smaller one pass one that cannot start', () => {
    const harness = new DecideHarness();
    harness.launch({ workers: 3 }, 'big');
    harness.launch({ workers: 1 }, 'small');
    harness.launch({ workers: 1 }, 'last');
    harness.connect('a');
    expect(harness.view('small').status).toBe('running');
    expect(harness.view('big').reason).toContain('it needs 3, 1 is connected and 0 of them are idle');
    harness.connect('b');
    expect(harness.view('last').status).toBe('running');
    expect(harness.view('big').status).toBe('queued');
  });

  it('lets an idle worker wait while an active run lacks one', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch();
    harness.train(1);
    harness.disconnect('b');
    harness.advance(500, 'a');
    harness.connect('c');
    harness.train(1);
    expect(harness.members).toEqual(['a']);
    expect(harness.view().reason).toBe('it trains step 3 of 6 on 1 of 2 workers');
  });

  it('fills the gap with an idle worker where nobody has trained yet', () => {
    const harness = new DecideHarness();
    harness.connect('a', 'b', 'c');
    harness.launch();
    harness.disconnect('a');
    harness.advance(500, 'b', 'c');
    expect(harness.members).toEqual(['b', 'c']);
    expect(harness.lastCommand('assign')?.startFrom).toEqual({ kind: 'fresh' });
  });
});
