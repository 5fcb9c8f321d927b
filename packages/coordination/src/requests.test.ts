import { beforeEach, describe, expect, it } from 'vitest';
import { NOTHING, RUN, Scene } from './testing/scene.js';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
  scene.attend('a', 'b');
  scene.launch();
});

const at = (step: number) => ({ checkpoint: { step, directory: `/step-${step}` }, skipped: [] });

describe('stop', () => {
  it('lets the step in hand finish on every rank and ends with its checkpoint', () => {
    scene.train(2);
    scene.vote('a');
    scene.stop();
    expect(scene.view().status).toBe('stopping');
    expect(scene.lastCommand('stopRun')).toMatchObject({ workerIds: ['a', 'b'], generation: 1, afterStep: 3 });
    scene.vote('b');
    expect(scene.view()).toMatchObject({ step: 3, status: 'stopping' });
    expect(scene.view().reason).toBe('it was asked to stop: it ends after step 3 and its checkpoint');
    scene.checkpoint(3);
    expect(scene.view()).toMatchObject({ status: 'stopped', step: 3, checkpointStep: 3 });
    expect(scene.lastCommand('release')).toMatchObject({ forget: true });
  });

  it('asked for twice is asked for once', () => {
    scene.train(1);
    scene.stop();
    scene.stop();
    expect(scene.commandsOf('stopRun')).toHaveLength(1);
  });

  it('without a checkpoint ends the run at once, also one that is stopping', () => {
    scene.train(2);
    scene.stop();
    scene.stop(false);
    expect(scene.view()).toMatchObject({ status: 'stopped', step: 2, worldSize: 0 });
    expect(scene.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], forget: true });
  });

  it('goes through when the ring breaks meanwhile', () => {
    scene.train(2);
    scene.stop();
    scene.leave('a');
    scene.pass(500, 'b');
    expect(scene.lastCommand('stopRun')).toMatchObject({ workerIds: ['b'], generation: 2, afterStep: 3 });
    scene.train(1);
    scene.checkpoint(3);
    expect(scene.view()).toMatchObject({ status: 'stopped', step: 3 });
  });

  it('ends without a checkpoint when nobody is left to write it', () => {
    scene.train(2);
    scene.stop();
    scene.leave('a', 'b');
    expect(scene.view().status).toBe('stopped');
    expect(scene.view().reason).toContain(`go on from the newest checkpoint with \`weft resume ${RUN}\``);
  });

  it('of a rank that goes on regardless is a failure', () => {
    scene.train(2);
    scene.stop();
    scene.train(1);
    scene.vote('a');
    expect(scene.view().failure?.message).toBe(
      'rank 0 voted for step 4 out of turn: the open step is 4, and step 3 is the last',
    );
  });

  it('in the last step finishes the run', () => {
    scene.train(5);
    scene.stop();
    scene.train(1);
    scene.checkpoint(6);
    expect(scene.view().status).toBe('finished');
  });

  it('takes a queued run off the queue, and is refused for one that has ended', () => {
    scene.launch({}, 'queued');
    scene.on({ kind: 'stop', runId: 'queued', saveCheckpoint: true });
    expect(scene.view('queued').status).toBe('stopped');
    scene.on({ kind: 'stop', runId: 'queued', saveCheckpoint: true });
    scene.train(6);
    scene.checkpoint(6);
    expect(() => scene.stop()).toThrow(`run ${RUN} has already finished: there is nothing to stop`);
    expect(() => scene.on({ kind: 'stop', runId: 'nope', saveCheckpoint: true })).toThrow('there is no run "nope"');
  });
});

describe('resume', () => {
  const stopAt = (step: number) => {
    scene.train(step - 1);
    scene.stop();
    scene.train(1);
    scene.checkpoint(step);
  };

  it('goes on from the newest checkpoint with other workers and another total of steps', () => {
    stopAt(3);
    scene.resume(at(3), { workers: 1, steps: 9 });
    expect(scene.lastCommand('writeConfig')?.config).toMatchObject({ workers: 1, steps: 9 });
    expect(scene.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 4, config: { steps: 9 } });
    expect(scene.view()).toMatchObject({ status: 'running', steps: 9, workers: 1, worldSize: 1 });
    scene.train(6);
    scene.checkpoint(9);
    expect(scene.view().status).toBe('finished');
  });

  it('rolls back the steps after the checkpoint', () => {
    scene.train(2);
    scene.checkpoint(2);
    scene.train(3);
    scene.stop(false);
    scene.resume({ checkpoint: at(2).checkpoint, skipped: [{ directory: '/run/step-4', reason: 'a byte differs' }] });
    expect(scene.view().step).toBe(2);
    expect(scene.log.find(({ kind }) => kind === 'resumed')).toMatchObject({
      fromStep: 2,
      reason: 'it resumes from the checkpoint of step 2 (step-4 was skipped: a byte differs)',
    });
    scene.train(4);
    scene.checkpoint(6);
    expect(scene.view()).toMatchObject({ status: 'finished', step: 6 });
  });

  it('of a queued run only changes what it asks for', () => {
    scene.launch({ workers: 3 }, 'other');
    const resume = (workers: number | undefined) =>
      scene.on({ kind: 'resume', runId: 'other', workers, steps: undefined, found: NOTHING });
    resume(undefined);
    expect(scene.logs.get('other')?.map(({ kind }) => kind)).toEqual(['launched']);
    resume(4);
    expect(scene.view('other')).toMatchObject({ status: 'queued', workers: 4, step: 0 });
  });

  it('of a run at work does nothing, or refuses to change it', () => {
    scene.resume(at(2));
    expect(scene.reason).toBe(`run ${RUN} is already running`);
    expect(() => scene.resume(at(2), { workers: 1 })).toThrow(`run ${RUN} is running`);
  });

  it('of a finished run asks for more steps', () => {
    scene.train(6);
    scene.checkpoint(6);
    expect(() => scene.resume(at(6))).toThrow(`run ${RUN} has finished all its 6 steps`);
    scene.resume(at(6), { steps: 8 });
    expect(scene.view()).toMatchObject({ status: 'running', steps: 8 });
  });

  it('refuses workers and steps that cannot be', () => {
    stopAt(3);
    expect(() => scene.resume(at(3), { workers: 10 })).toThrow('workers is 10, but must be at most globalBatchSize');
    expect(() => scene.resume(at(3), { steps: 2 })).toThrow(
      `steps 2 lies before the newest checkpoint of run ${RUN}, step 3`,
    );
    expect(scene.view().status).toBe('stopped');
  });

  it('has nothing to do where the checkpoint holds all steps', () => {
    stopAt(3);
    scene.resume(at(3), { steps: 3 });
    expect(scene.view()).toMatchObject({ status: 'finished', step: 3, steps: 3 });
  });

  it('fails where the checkpoint is newer than the log', () => {
    stopAt(3);
    scene.resume(at(5));
    expect(scene.view()).toMatchObject({ status: 'failed', failure: { code: 'corrupt_data' } });
  });
});

describe('launch', () => {
  it('is refused for an id that is taken', () => {
    expect(() => scene.launch()).toThrow(`there is already a run ${RUN}`);
  });
});
