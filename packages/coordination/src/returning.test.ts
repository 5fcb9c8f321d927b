import { beforeEach, describe, expect, it } from 'vitest';
import { DecideHarness, NO_CHECKPOINT, RUN } from './testing/decide-harness.js';

const STEP_2 = { checkpoint: { step: 2, directory: '/step-2' }, skipped: [] };

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  harness.connect('a', 'b');
  harness.launch({ steps: 20 });
  harness.train(2);
  harness.checkpoint(2);
  harness.train(3);
});

const kinds = () => harness.log.map(({ kind }) => kind);

describe('workers that come back to a coordinator that was killed', () => {
  beforeEach(() => {
    harness.restart('auto');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: STEP_2 });
    harness.clearCommands();
  });

  it('go on with their generation after the last committed step: nothing is trained twice', () => {
    expect(harness.view().reason).toContain('it goes on if its workers come back with step 5');
    harness.comeBack('a');
    expect(harness.view()).toMatchObject({ status: 'queued', step: 5 });
    harness.comeBack('b');
    expect(harness.view()).toMatchObject({ status: 'running', step: 5, generation: 1, worldSize: 2 });
    expect(harness.lastCommand('continueGeneration')).toMatchObject({ workerIds: ['a', 'b'], generation: 1 });
    expect(harness.commandsOf('assign')).toEqual([]);
    harness.train(1);
    expect(kinds()).not.toContain('resumed');
    expect(kinds().at(-1)).toBe('committed');
  });

  it('are told the step that was committed and never sent', () => {
    harness.comeBack('a');
    harness.comeBack('b', { step: 4, loss: 2, votedLoss: 2 });
    expect(harness.commandsOf('decideStep')).toEqual([
      expect.objectContaining({ workerIds: ['b'], step: 5, apply: true, gradNorm: 1, lossTokens: 100 }),
    ]);
    expect(harness.view()).toMatchObject({ status: 'running', step: 5, generation: 1 });
  });

  it('go on without one of the generation before that came back first: it gets the state like any newcomer', () => {
    harness.comeBack('a');
    harness.comeBack('b');
    harness.disconnect('b');
    harness.advance(500, 'a');
    expect(harness.members).toEqual(['a']);
    harness.restart('auto');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: STEP_2 });
    harness.clearCommands();
    harness.comeBack('b', { generation: 1, isTraining: false });
    harness.comeBack('a', { generation: 2 });
    expect(harness.members).toEqual(['a']);
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['b'], discardState: true });
    expect(harness.lastCommand('prepare')).toMatchObject({ workerId: 'b', runId: RUN });
    harness.train(1);
    harness.breakRing('a');
    harness.advance(500, 'a', 'b');
    expect(harness.members).toEqual(['a']);
  });

  it('form the next generation with their state when one of them does not come back', () => {
    harness.comeBack('b');
    harness.advance(2500, 'b');
    expect(harness.view().worldSize).toBe(0);
    harness.advance(4000, 'b');
    expect(harness.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 6, startFrom: { kind: 'keep' } });
    expect(kinds()).not.toContain('resumed');
  });

  it('form the next generation when a ring broke meanwhile', () => {
    harness.comeBack('a', { isTraining: false });
    harness.comeBack('b');
    harness.advance(500, 'a', 'b');
    expect(harness.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 6, startFrom: { kind: 'keep' } });
    expect(harness.members).toEqual(['a', 'b']);
  });

  it.each([
    ['another loss of the last step', { loss: 3 }, 'had the loss 3, that of the log 2'],
    ['a step that the log does not have', { step: 6 }, 'it holds step 6, and the log ends at step 5'],
    ['an older step', { step: 3 }, 'it holds step 3, and the log ends at step 5'],
    ['the step before without its vote', { step: 4 }, 'without the gradients of step 5'],
    ['another vote', { step: 4, votedLoss: 3 }, 'it voted for step 5 with the loss 3, and the log has 2'],
    ['a generation that the log does not have', { generation: 2 }, 'its generation 2 is not one of this log, 1 to 1'],
  ])('drop what they hold when it is %s', (_, held, reason) => {
    harness.comeBack('a', held);
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a'], discardState: true });
    expect(harness.lastCommand('release')?.reason).toContain(reason);
    harness.connect('b');
    harness.advance(6000, 'a', 'b');
    expect(harness.lastCommand('assign')).toMatchObject({
      firstStep: 3,
      startFrom: { kind: 'checkpoint', directory: '/step-2' },
    });
  });

  it('may come back minutes later, as long as no others could start from the checkpoint', () => {
    harness.connect('c');
    harness.advance(300_000, 'c');
    expect(harness.view()).toMatchObject({ status: 'queued', step: 5 });
    harness.comeBack('a');
    harness.comeBack('b');
    expect(harness.view()).toMatchObject({ status: 'running', step: 5 });
  });

  it('are too late once others have started from the checkpoint', () => {
    harness.connect('c', 'd');
    harness.advance(4500, 'c', 'd');
    expect(harness.view().worldSize).toBe(0);
    harness.advance(1000, 'c', 'd');
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 3 });
    harness.comeBack('a', { generation: 1, step: 5, loss: 2 });
    expect(harness.lastCommand('release')?.reason).toContain('generation 1 is not one of this log, 2 to 2');
  });
});

describe('workers that a living coordinator missed for a while', () => {
  it('go on where they are', () => {
    harness.disconnect('a', 'b');
    expect(harness.view().status).toBe('queued');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: STEP_2 });
    harness.advance(120_000);
    harness.comeBack('b', { isTraining: false });
    harness.comeBack('a');
    harness.advance(500, 'a', 'b');
    expect(harness.view()).toMatchObject({ status: 'running', step: 5 });
    expect(harness.lastCommand('assign')).toMatchObject({ startFrom: { kind: 'keep' } });
  });

  it('come as newcomers when the others have gone on', () => {
    harness.disconnect('b');
    harness.advance(500, 'a');
    harness.train(1);
    harness.comeBack('b', { generation: 1, step: 5, loss: 2 });
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['b'], discardState: true });
    expect(harness.lastCommand('prepare')).toMatchObject({ workerId: 'b' });
    harness.prepared('b');
    harness.train(1);
    expect(harness.members).toEqual(['a', 'b']);
  });

  it('are members again when the ring has not formed yet', () => {
    harness.disconnect('b');
    harness.comeBack('b', { isTraining: false });
    harness.advance(500, 'a', 'b');
    expect(harness.members).toEqual(['a', 'b']);
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 6, newcomers: [] });
  });

  it('drop what they hold of a run that has ended or that nobody knows', () => {
    harness.stop(false);
    harness.comeBack('a');
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a'], discardState: true });
    harness.comeBack('b', { runId: 'other' });
    expect(harness.lastCommand('release')?.reason).toBe('this coordinator does not know the run');
  });

  it('are awaited before missing checkpoints end the run', () => {
    harness.disconnect('a', 'b');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: NO_CHECKPOINT });
    harness.advance(60_000);
    expect(harness.view().status).toBe('queued');
    harness.comeBack('a');
    harness.comeBack('b');
    expect(harness.view()).toMatchObject({ status: 'running', step: 5 });
  });
});
