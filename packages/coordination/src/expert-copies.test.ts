import { beforeEach, describe, expect, it } from 'vitest';
import { DecideHarness, RUN } from './testing/decide-harness.js';
import { tinyConfig } from './testing/tiny-config.js';

const moe = { experts: 4, everyLayers: 1 };
const { model } = tinyConfig();
const sparse = {
  ...{ expertWorkers: 2, steps: 20, checkpoint: { everySteps: 100 } },
  model: { ...model, decoder: { ...model.decoder, moe } },
};

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  harness.launch(sparse);
  harness.connect('a', 'b');
  harness.connectExperts('x', 'y');
});

/** The last assignment, as expert workers see it. */
function assigned(of = harness) {
  const { startFrom, firstStep, experts, expertCopies, expertHolders } = of.lastCommand('assign')!;
  return {
    from: startFrom.kind,
    firstStep,
    experts: experts.map((each) => each.workerId),
    expertCopies,
    expertHolders,
  };
}

const wentBack = () => harness.log.some(({ kind }) => kind === 'requeued');

describe('the experts of a lost expert worker', () => {
  it('go on with the copy on another worker, which serves them all when nobody else is there', () => {
    expect(assigned()).toMatchObject({ experts: ['x', 'y'], expertCopies: [1, 0], expertHolders: [] });
    harness.train(3);
    harness.disconnect('x');
    expect(harness.reason).toContain('expert worker 0 (x on host) was lost: its stream ended; run tiny-1 goes on with');
    harness.advance(200, 'a', 'b', 'y');
    expect(assigned()).toEqual({
      ...{ from: 'keep', firstStep: 4, experts: ['y'] },
      ...{ expertCopies: [], expertHolders: [[0], [0]] },
    });
    harness.train(17);
    expect(harness.view().step).toBe(20);
    expect(wentBack()).toBe(false);
  });

  it('go to an idle expert worker, which takes its number and gets the state of its experts', () => {
    harness.connectExperts('z');
    harness.train(3);
    harness.disconnect('x');
    harness.advance(200, 'a', 'b', 'y', 'z');
    expect(assigned()).toMatchObject({ experts: ['z', 'y'], expertCopies: [1, 0], expertHolders: [[1], [1]] });
    harness.train(1);
    // Once a step is committed, the new one holds its experts too.
    harness.disconnect('y');
    harness.advance(200, 'a', 'b', 'z');
    expect(assigned()).toMatchObject({ from: 'keep', firstStep: 5, experts: ['z'], expertHolders: [[0], [0]] });
  });

  it('are lost with the copy: the run goes back to its checkpoint', () => {
    harness.train(3);
    harness.disconnect('x', 'y');
    expect(wentBack()).toBe(true);
  });

  it('are lost where the copy has not come yet', () => {
    harness.connectExperts('z');
    harness.train(3);
    harness.disconnect('x');
    harness.advance(200, 'a', 'b', 'y', 'z');
    harness.disconnect('y');
    expect(wentBack()).toBe(true);
  });

  it('are still where they were when the new one is lost before its first step', () => {
    harness.connectExperts('z');
    harness.train(3);
    harness.disconnect('x');
    harness.advance(200, 'a', 'b', 'y', 'z');
    harness.disconnect('z');
    harness.advance(200, 'a', 'b', 'y');
    expect(assigned()).toMatchObject({ from: 'keep', firstStep: 4, experts: ['y'], expertHolders: [[0], [0]] });
  });

  it('are not taken to be with a worker that came back without them, before a step is committed', () => {
    harness.train(3);
    harness.disconnect('x');
    harness.advance(200, 'a', 'b', 'y');
    expect(assigned()).toMatchObject({ experts: ['y'], expertHolders: [[0], [0]] });
    harness.connectExperts('x');
    for (let times = 1; times <= 2; times++) {
      harness.breakRing('a');
      harness.advance(200, 'a', 'b', 'x', 'y');
      expect(assigned()).toMatchObject({ from: 'keep', experts: ['x', 'y'], expertHolders: [[1], [1]] });
    }
    harness.breakRing('a');
    harness.disconnect('y');
    expect(wentBack()).toBe(true);
  });

  it('are with a worker that came back once it has committed a step', () => {
    harness.train(3);
    harness.disconnect('x');
    harness.advance(200, 'a', 'b', 'y');
    harness.connectExperts('x');
    harness.breakRing('a');
    harness.advance(200, 'a', 'b', 'x', 'y');
    harness.train(1);
    harness.disconnect('y');
    harness.advance(200, 'a', 'b', 'x');
    expect(assigned()).toMatchObject({ from: 'keep', experts: ['x'], expertHolders: [[0], [0]] });
  });

  it('are lost at once where copies are off', () => {
    const without = new DecideHarness();
    without.launch({ ...sparse, expertCopies: false });
    without.connect('a', 'b');
    without.connectExperts('x', 'y');
    expect(assigned(without).expertCopies).toEqual([]);
    without.train(3);
    without.disconnect('x');
    expect(without.log.some(({ kind }) => kind === 'requeued')).toBe(true);
  });

  it('go on with the copy also when the coordinator was lost with their worker', () => {
    harness.train(3);
    harness.restart('auto');
    harness.comeBack('a');
    harness.comeBack('b');
    harness.comeBack('y', {}, 'expertWorker');
    harness.advance(6000, 'a', 'b', 'y');
    expect(assigned()).toMatchObject({ from: 'keep', firstStep: 4, experts: ['y'], expertHolders: [[0], [0]] });
  });
});

describe('an expert worker', () => {
  it('joins at the end of a step when the run has fewer than it asks for, and the experts are dealt out anew', () => {
    harness.train(3);
    harness.disconnect('x');
    harness.advance(200, 'a', 'b', 'y');
    harness.train(1);
    harness.connectExperts('z');
    harness.train(1);
    // All experts were one range, on y.
    expect(assigned()).toEqual({
      ...{ from: 'keep', firstStep: 6, experts: ['y', 'z'] },
      ...{ expertCopies: [1, 0], expertHolders: [[0]] },
    });
    expect(wentBack()).toBe(false);
  });

  it('that was asked to end hands over after the current step', () => {
    harness.train(3);
    harness.handle({ kind: 'leaving', workerId: 'x' });
    expect(harness.lastCommand('release')).toBeUndefined();
    harness.train(1);
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['x'], discardState: true });
    expect(assigned()).toMatchObject({ from: 'keep', firstStep: 5, experts: ['y'], expertHolders: [[0], [0]] });
    expect(wentBack()).toBe(false);
  });

  it('stays until its copy is somewhere else when the holder of the copy leaves too', () => {
    harness.connectExperts('z');
    harness.train(3);
    harness.handle({ kind: 'leaving', workerId: 'x' });
    harness.handle({ kind: 'leaving', workerId: 'y' });
    harness.train(1);
    expect(assigned()).toMatchObject({ experts: ['z', 'y'], expertHolders: [[1], [1]] });
    harness.train(1);
    expect(assigned()).toMatchObject({ from: 'keep', experts: ['z'], expertHolders: [[0], [0]] });
    expect(wentBack()).toBe(false);
  });

  it('has no copy where one lacks the memory for it, which is said', () => {
    const small = new DecideHarness();
    small.shortageOf = ({ expertCopies }, { role }) =>
      role === 'expertWorker' && expertCopies === true
        ? { message: '1 GiB of memory, and needs 2', hint: '' }
        : undefined;
    small.launch(sparse);
    small.connect('a', 'b');
    small.connectExperts('x', 'y');
    expect(assigned(small).expertCopies).toEqual([]);
    expect(small.lastCommand('notify')?.sentence).toBe(
      `the experts of run ${RUN} have no copies: expert worker x on host has 1 GiB of memory, and needs 2`,
    );
  });
});
