import { beforeEach, describe, expect, it } from 'vitest';
import { DecideHarness, RUN } from './testing/decide-harness.js';

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  harness.connect('a', 'b');
  harness.launch({ steps: 20, checkpoint: { everySteps: 5, keepLast: 2 } });
  harness.train(2);
});

/** One of the two is lost, and the other goes on. */
function loseB(): void {
  harness.disconnect('b');
  harness.advance(500, 'a');
  harness.train(1);
}

describe('a newcomer', () => {
  it('gets ready while the others train on, and joins with the next step that is committed', () => {
    loseB();
    harness.connect('c');
    expect(harness.lastCommand('prepare')).toMatchObject({ workerId: 'c', runId: RUN, step: 4, ring: ['a:1'] });
    expect(harness.view().reason).toContain('on 1 of 2 workers, and 1 more worker will join');
    harness.train(1);
    expect(harness.members).toEqual(['a']);
    harness.prepared('c');
    expect(harness.members).toEqual(['a']);
    harness.clearCommands();
    harness.train(1);
    // Step 5 is saved by the generation that took it, and its parts still count.
    const kinds = harness.commands.map(({ kind }) => kind);
    expect(kinds.indexOf('endGeneration')).toBeLessThan(kinds.indexOf('decideStep'));
    expect(kinds.indexOf('decideStep')).toBeLessThan(kinds.indexOf('assign'));
    expect(kinds).not.toContain('release');
    expect(harness.lastCommand('endGeneration')).toMatchObject({ workerIds: ['a'], afterStep: 5, generation: 2 });
    expect(harness.lastCommand('assign')).toMatchObject({
      generation: 3,
      firstStep: 6,
      startFrom: { kind: 'keep' },
      newcomers: ['c'],
    });
    expect(harness.members).toEqual(['a', 'c']);
    harness.savePart('a', 5, 2);
    expect(harness.lastCommand('writeManifest')).toMatchObject({ workerId: 'a', step: 5 });
    harness.writeManifest('a', 5, 2);
    expect(harness.view().checkpointStep).toBe(5);
    harness.train(15);
    harness.checkpoint(20);
    expect(harness.view()).toMatchObject({ status: 'finished', step: 20 });
  });

  it('lets a run grow to the size it asks for', () => {
    const grown = new DecideHarness();
    grown.connect('a');
    grown.launch({ workers: 3, minWorkers: 1, steps: 20 });
    grown.advance(16_000, 'a');
    expect(grown.members).toEqual(['a']);
    grown.train(1);
    grown.connect('b', 'c', 'd');
    // The last one as a spare.
    expect(grown.commandsOf('prepare').map(({ workerId }) => workerId)).toEqual(['b', 'c', 'd']);
    grown.prepared('b', 'c', 'd');
    grown.train(1);
    expect(grown.members).toEqual(['a', 'b', 'c']);
  });

  it('has nothing before its first step: when a holder is lost, it joins again, from the others', () => {
    harness.disconnect('b');
    harness.advance(500, 'a');
    harness.connect('c');
    harness.prepared('c');
    harness.train(1);
    expect(harness.members).toEqual(['a', 'c']);
    harness.disconnect('a');
    // Nobody holds the state: the run goes back to its checkpoint.
    expect(harness.view()).toMatchObject({ status: 'queued', step: 3 });
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['c'], discardState: true });
  });

  it('that is lost costs the others a generation, and no step', () => {
    loseB();
    harness.connect('c');
    harness.prepared('c');
    harness.train(1);
    harness.disconnect('c');
    harness.advance(500, 'a');
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 5, startFrom: { kind: 'keep' }, newcomers: [] });
    harness.train(16);
    expect(harness.view().step).toBe(20);
  });

  it('waits longer and longer after rings that did not form with it, and does not end the run', () => {
    loseB();
    harness.connect('c');
    harness.prepared('c');
    for (let i = 0; i < 4; i++) {
      harness.advance(25_000, 'a', 'c');
      harness.train(1);
      expect(harness.members).toEqual(['a', 'c']);
      harness.breakRing('a');
      harness.advance(500, 'a', 'c');
      expect(harness.members).toEqual(['a']);
      harness.train(1);
      expect(harness.members).toEqual(['a']);
    }
    harness.advance(100_000, 'a', 'c');
    harness.train(1);
    expect(harness.members).toEqual(['a']);
    expect(harness.view().status).toBe('running');
  });

  it('that fails is given up, and the others go on', () => {
    loseB();
    harness.connect('c');
    harness.prepared('c');
    harness.train(1);
    const failure = { code: 'corrupt_data', message: 'the share of rank 0 arrived damaged', hint: null } as const;
    const outcome = { kind: 'failed', step: 4, failure } as const;
    harness.handle({ kind: 'ended', workerId: 'c', runId: RUN, generation: harness.view().generation, outcome });
    expect(harness.lastCommand('dismiss')).toMatchObject({ workerId: 'c', code: 'corrupt_data' });
    harness.advance(500, 'a');
    harness.train(1);
    expect(harness.view()).toMatchObject({ status: 'running', step: 5, worldSize: 1 });
  });

  it('that cannot get ready is not asked again, and another one is', () => {
    loseB();
    harness.connect('c', 'd');
    const failure = { code: 'native_library', message: 'no TensorFlow', hint: null } as const;
    harness.handle({ kind: 'prepared', workerId: 'c', runId: RUN, failure });
    expect(harness.commandsOf('prepare').map(({ workerId }) => workerId)).toEqual(['c', 'd']);
    harness.prepared('d');
    harness.train(1);
    expect(harness.members).toEqual(['a', 'd']);
  });

  it('is let go when the run ends before it joined', () => {
    loseB();
    harness.connect('c');
    harness.stop(false);
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'c'], discardState: true });
    harness.launch({ workers: 2 }, 'next');
    expect(harness.view('next').worldSize).toBe(2);
  });

  it('does not join after a step that is evaluated, unless every step is', () => {
    const evaluated = new DecideHarness();
    evaluated.connect('a', 'b');
    evaluated.launch({ steps: 20, evaluation: { everySteps: 2, sequencesPerSource: 1 } });
    evaluated.train(1);
    evaluated.disconnect('b');
    evaluated.advance(500, 'a');
    evaluated.connect('c');
    evaluated.prepared('c');
    evaluated.train(1);
    expect(evaluated.members).toEqual(['a']);
    evaluated.train(1);
    expect(evaluated.members).toEqual(['a', 'c']);
  });
});

describe('a spare', () => {
  beforeEach(() => {
    harness.connect('c', 'd');
    harness.prepared('c');
  });

  it('is one idle worker that gets ready for a run that has all its workers', () => {
    expect(harness.commandsOf('prepare').map(({ workerId, ring }) => ({ workerId, ring }))).toEqual([
      { workerId: 'c', ring: ['a:1'] },
    ]);
    expect(harness.view().reason).toBe('it trains step 3 of 20 on 2 workers, and a spare is ready');
    harness.train(2);
    expect(harness.members).toEqual(['a', 'b']);
  });

  it('takes the place of a lost worker in the ring that forms next, and another one becomes the spare', () => {
    harness.disconnect('b');
    harness.advance(200, 'a', 'c', 'd');
    expect(harness.lastCommand('assign')).toMatchObject({
      firstStep: 3,
      startFrom: { kind: 'keep' },
      newcomers: ['c'],
    });
    expect(harness.members).toEqual(['a', 'c']);
    expect(harness.lastCommand('prepare')).toMatchObject({ workerId: 'd' });
  });

  it('takes the place of a worker that leaves at the same boundary', () => {
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.train(1);
    expect(harness.members).toEqual(['a', 'c']);
  });

  it('is let go for a run of the queue that can start with it', () => {
    harness.launch({ workers: 2 }, 'next');
    expect(harness.view('next').worldSize).toBe(2);
    expect(harness.membersOf('next')).toEqual(['c', 'd']);
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['c'], runId: RUN, discardState: true });
  });

  it('stays where the run of the queue could not start with it either', () => {
    harness.launch({ workers: 9 }, 'huge');
    harness.train(1);
    expect(harness.commandsOf('release')).toEqual([]);
    expect(harness.view().reason).toContain('a spare is ready');
  });
});

describe('a worker that was asked to end', () => {
  it('leaves after the current step, and the others go on without giving anything up', () => {
    harness.handle({ kind: 'leaving', workerId: 'b' });
    expect(harness.members).toEqual(['a', 'b']);
    harness.clearCommands();
    harness.train(1);
    expect(harness.members).toEqual(['a']);
    expect(harness.commands.map(({ kind }) => kind)).toEqual(
      expect.arrayContaining(['endGeneration', 'decideStep', 'release', 'assign']),
    );
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['b'], discardState: true });
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 4, startFrom: { kind: 'keep' } });
    expect(harness.log.some(({ kind }) => kind === 'workerLost')).toBe(false);
  });

  it('makes room for a newcomer at the same boundary', () => {
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.connect('c');
    harness.prepared('c');
    harness.train(1);
    expect(harness.members).toEqual(['a', 'c']);
  });

  it('stays while its part of a checkpoint is being written', () => {
    harness.train(2);
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.train(1);
    expect(harness.members).toEqual(['a', 'b']);
    harness.checkpoint(5);
    harness.train(1);
    expect(harness.members).toEqual(['a']);
  });

  it('does not wait for a checkpoint that will never be complete, once there is a newer one', () => {
    harness.train(3);
    harness.savePart('a', 5);
    harness.train(5);
    harness.checkpoint(10);
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.train(1);
    expect(harness.members).toEqual(['a']);
  });

  it('saves the step that it is at when nobody else holds the state, and the run waits with that checkpoint', () => {
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.handle({ kind: 'leaving', workerId: 'a' });
    const step = harness.view().step + 1;
    expect(harness.lastCommand('stopRun')).toMatchObject({ workerIds: ['a', 'b'], afterStep: step });
    expect(harness.view().reason).toBe(`its last workers were asked to end, and save step ${step} first`);
    harness.train(1);
    harness.checkpoint(step);
    expect(harness.view()).toMatchObject({ status: 'queued', step, checkpointStep: step });
    expect(harness.view().reason).toContain(`its last workers were asked to end, and saved step ${step}`);
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], discardState: true });
    expect(harness.log.some(({ kind }) => kind === 'workerLost')).toBe(false);
    harness.disconnect('a', 'b');
    harness.connect('c', 'd');
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: step + 1, startFrom: { kind: 'checkpoint' } });
  });

  it('saves the step also when the one that would have stayed is lost meanwhile', () => {
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.disconnect('a');
    harness.advance(200, 'b');
    expect(harness.lastCommand('stopRun')).toMatchObject({ workerIds: ['b'], afterStep: 3 });
    harness.train(1);
    harness.checkpoint(3);
    expect(harness.view()).toMatchObject({ status: 'queued', step: 3, checkpointStep: 3 });
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['b'], discardState: true });
  });

  it('is let go with the ring that forms after a loss, and the others go on', () => {
    const three = new DecideHarness();
    three.connect('a', 'b', 'c');
    three.launch({ workers: 3, steps: 20, globalBatchSize: 3 });
    three.train(1);
    three.handle({ kind: 'leaving', workerId: 'b' });
    three.disconnect('c');
    three.advance(200, 'a', 'b');
    expect(three.members).toEqual(['a']);
    expect(three.lastCommand('stopRun')).toBeUndefined();
  });

  it('hands over to a spare when the one that would have stayed is lost meanwhile', () => {
    harness.connect('c');
    harness.prepared('c');
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.disconnect('a');
    harness.advance(200, 'b', 'c');
    expect(harness.members).toEqual(['b', 'c']);
    expect(harness.lastCommand('stopRun')).toBeUndefined();
    harness.train(1);
    expect(harness.members).toEqual(['c']);
  });

  it('is no interruption, by which checkpoints would be saved more often', () => {
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.handle({ kind: 'leaving', workerId: 'a' });
    harness.train(1);
    harness.checkpoint(3);
    expect(harness.state.runs.get(RUN)?.state.saveCosts.interruptions).toBe(0);
    expect(harness.log.at(-1)).toMatchObject({ kind: 'requeued', isSaved: true });
  });

  it('goes at once where it holds a run that is paused', () => {
    harness.restart('auto');
    harness.queue.isPaused = true;
    harness.listQueue();
    harness.comeBack('a');
    harness.handle({ kind: 'leaving', workerId: 'a' });
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a'], runId: RUN, discardState: true });
  });

  it('stops with that checkpoint when the run is asked to stop meanwhile', () => {
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.handle({ kind: 'leaving', workerId: 'a' });
    harness.train(1);
    harness.stop();
    harness.checkpoint(3);
    expect(harness.view()).toMatchObject({ status: 'stopped', step: 3, checkpointStep: 3 });
  });

  it('is lost as any other when it cannot stay for so long, and the run waits for others', () => {
    harness.handle({ kind: 'leaving', workerId: 'b' });
    harness.handle({ kind: 'leaving', workerId: 'a' });
    harness.disconnect('a', 'b');
    expect(harness.view()).toMatchObject({ status: 'queued', step: 2 });
  });
});
