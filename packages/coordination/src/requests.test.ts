import { beforeEach, describe, expect, it } from 'vitest';
import { DecideHarness, NO_CHECKPOINT, RUN } from './testing/decide-harness.js';

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  harness.connect('a', 'b');
  harness.launch();
});

const at = (step: number) => ({ checkpoint: { step, directory: `/step-${step}` }, skipped: [] });

describe('a checkpoint that a person asks for', () => {
  const ask = () => harness.handle({ kind: 'saveCheckpoint', runId: RUN });

  it('is saved by all after the step under way, and the run goes on', () => {
    harness.train(2);
    harness.vote('a');
    ask();
    harness.vote('b');
    expect(harness.lastCommand('decideStep')).toMatchObject({ workerIds: ['a', 'b'], step: 3, save: true });
    harness.checkpoint(3);
    expect(harness.view()).toMatchObject({ status: 'running', checkpointStep: 3 });
    harness.train(1);
    expect(harness.lastCommand('decideStep')).not.toHaveProperty('save');
  });

  it('is not forgotten when a worker is lost before that step', () => {
    harness.train(2);
    ask();
    harness.disconnect('b');
    harness.advance(1000, 'a');
    harness.vote('a');
    expect(harness.lastCommand('decideStep')).toMatchObject({ step: 3, save: true });
  });

  it('is refused while the run does not train', () => {
    harness.stop(false);
    expect(ask).toThrow(`run ${RUN} is stopped: there is nothing new to save`);
  });
});

describe('stop', () => {
  it('lets the current step finish on every rank and ends with its checkpoint', () => {
    harness.train(2);
    harness.vote('a');
    harness.stop();
    expect(harness.view().status).toBe('stopping');
    expect(harness.lastCommand('stopRun')).toMatchObject({ workerIds: ['a', 'b'], generation: 1, afterStep: 3 });
    harness.vote('b');
    expect(harness.view()).toMatchObject({ step: 3, status: 'stopping' });
    expect(harness.view().reason).toBe('it was asked to stop: it ends after step 3 and its checkpoint');
    harness.checkpoint(3);
    expect(harness.view()).toMatchObject({ status: 'stopped', step: 3, checkpointStep: 3 });
    expect(harness.lastCommand('release')).toMatchObject({ discardState: true });
  });

  it('asked for twice is asked for once', () => {
    harness.train(1);
    harness.stop();
    harness.stop();
    expect(harness.commandsOf('stopRun')).toHaveLength(1);
  });

  it('without a checkpoint ends the run at once, also one that is stopping', () => {
    harness.train(2);
    harness.stop();
    harness.stop(false);
    expect(harness.view()).toMatchObject({ status: 'stopped', step: 2, worldSize: 0 });
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], discardState: true });
  });

  it('goes through when the ring breaks meanwhile', () => {
    harness.train(2);
    harness.stop();
    harness.disconnect('a');
    harness.advance(500, 'b');
    expect(harness.lastCommand('stopRun')).toMatchObject({ workerIds: ['b'], generation: 2, afterStep: 3 });
    harness.train(1);
    harness.checkpoint(3);
    expect(harness.view()).toMatchObject({ status: 'stopped', step: 3 });
  });

  it('ends without a checkpoint when nobody is left to write it', () => {
    harness.train(2);
    harness.stop();
    harness.disconnect('a', 'b');
    expect(harness.view().status).toBe('stopped');
    expect(harness.view().reason).toContain(`go on from the newest checkpoint with \`weft resume ${RUN}\``);
  });

  it('of a rank that goes on regardless is a failure', () => {
    harness.train(2);
    harness.stop();
    harness.train(1);
    harness.vote('a');
    expect(harness.view().failure?.message).toBe(
      'rank 0 voted for step 4 out of order: the open step is 4, and step 3 is the last',
    );
  });

  it('in the last step finishes the run', () => {
    harness.train(5);
    harness.stop();
    harness.train(1);
    harness.checkpoint(6);
    expect(harness.view().status).toBe('finished');
  });

  it('takes a queued run off the queue, and is refused for one that has ended', () => {
    harness.launch({}, 'queued');
    harness.handle({ kind: 'stop', runId: 'queued', saveCheckpoint: true });
    expect(harness.view('queued').status).toBe('stopped');
    harness.handle({ kind: 'stop', runId: 'queued', saveCheckpoint: true });
    harness.train(6);
    harness.checkpoint(6);
    expect(() => harness.stop()).toThrow(`run ${RUN} has already finished: there is nothing to stop`);
    expect(() => harness.handle({ kind: 'stop', runId: 'nope', saveCheckpoint: true })).toThrow(
      'there is no run "nope"',
    );
  });
});

describe('resume', () => {
  const stopAt = (step: number) => {
    harness.train(step - 1);
    harness.stop();
    harness.train(1);
    harness.checkpoint(step);
  };

  it('goes on from the newest checkpoint with other workers and another total of steps', () => {
    stopAt(3);
    harness.resume(at(3), { workers: 1, steps: 9 });
    expect(harness.lastCommand('writeConfig')?.config).toMatchObject({ workers: 1, steps: 9 });
    expect(harness.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 4, config: { steps: 9 } });
    expect(harness.view()).toMatchObject({ status: 'running', steps: 9, workers: 1, worldSize: 1 });
    harness.train(6);
    harness.checkpoint(9);
    expect(harness.view().status).toBe('finished');
  });

  it('goes on with another engine, and refuses to change what is trained', () => {
    stopAt(3);
    expect(() => harness.resume(at(3), { settings: ['model.sequenceLength=8'] })).toThrow(
      'a run that is resumed changes fields of engine, checkpoint, divergence and some of data only, and "model.sequenceLength=8" is none',
    );
    harness.resume(at(3), { settings: ['engine.backend=pjrt', 'engine.mesh.tensor=2'] });
    const engine = { backend: 'pjrt', mesh: { fsdp: 1, tensor: 2, expert: 1 } };
    expect(harness.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 4, config: { engine } });
  });

  it('goes on with another policy for spikes and for checkpoints, also after a restart', () => {
    stopAt(3);
    harness.resume(at(3), { settings: ['divergence.policy=rollback', 'checkpoint.everyMinutes=auto'] });
    const changed = { divergence: { policy: 'rollback' }, checkpoint: { everyMinutes: 'auto', everySteps: 2 } };
    expect(harness.lastCommand('assign')).toMatchObject({ config: changed });
    expect(harness.log.find(({ kind }) => kind === 'resumed')).toMatchObject(changed);
    harness.restart('auto');
    expect(harness.state.runs.get(RUN)?.state.config).toMatchObject(changed);
  });

  it('rolls back the steps after the checkpoint', () => {
    harness.train(2);
    harness.checkpoint(2);
    harness.train(3);
    harness.stop(false);
    harness.resume({
      checkpoint: at(2).checkpoint,
      skipped: [{ directory: '/run/step-4', reason: 'a byte differs', isUnhealthy: false }],
    });
    expect(harness.view().step).toBe(2);
    expect(harness.log.find(({ kind }) => kind === 'resumed')).toMatchObject({
      fromStep: 2,
      reason: 'it resumes from the checkpoint of step 2 (step-4 was skipped: a byte differs)',
    });
    harness.train(4);
    harness.checkpoint(6);
    expect(harness.view()).toMatchObject({ status: 'finished', step: 6 });
  });

  it('of a queued run only changes what it asks for', () => {
    harness.launch({ workers: 3 }, 'other');
    const resume = (workers: number | undefined) =>
      harness.handle({ kind: 'resume', runId: 'other', workers, steps: undefined, found: NO_CHECKPOINT });
    resume(undefined);
    expect(harness.logs.get('other')?.map(({ kind }) => kind)).toEqual(['launched']);
    resume(4);
    expect(harness.view('other')).toMatchObject({ status: 'queued', workers: 4, step: 0 });
  });

  it('of a running run does nothing, or refuses to change it', () => {
    harness.resume(at(2));
    expect(harness.reason).toBe(`run ${RUN} is already running`);
    expect(() => harness.resume(at(2), { workers: 1 })).toThrow(`run ${RUN} is running`);
  });

  it('of a finished run asks for more steps', () => {
    harness.train(6);
    harness.checkpoint(6);
    expect(() => harness.resume(at(6))).toThrow(`run ${RUN} has finished all its 6 steps`);
    harness.resume(at(6), { steps: 8 });
    expect(harness.view()).toMatchObject({ status: 'running', steps: 8 });
  });

  it('refuses workers and steps that cannot be', () => {
    stopAt(3);
    expect(() => harness.resume(at(3), { workers: 10 })).toThrow('workers is 10, but must be at most globalBatchSize');
    expect(() => harness.resume(at(3), { steps: 2 })).toThrow(
      `steps 2 lies before the newest checkpoint of run ${RUN}, step 3`,
    );
    expect(harness.view().status).toBe('stopped');
  });

  it('has nothing to do where the checkpoint holds all steps', () => {
    stopAt(3);
    harness.resume(at(3), { steps: 3 });
    expect(harness.view()).toMatchObject({ status: 'finished', step: 3, steps: 3 });
  });

  it('fails where the checkpoint is newer than the log', () => {
    stopAt(3);
    harness.resume(at(5));
    expect(harness.view()).toMatchObject({ status: 'failed', failure: { code: 'corrupt_data' } });
  });
});

describe('launch', () => {
  it('is refused for an id that is taken', () => {
    expect(() => harness.launch()).toThrow(`there is already a run ${RUN}`);
  });
});
