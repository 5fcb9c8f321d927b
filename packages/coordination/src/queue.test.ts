import { beforeEach, describe, expect, it } from 'vitest';
import { NOTHING, RUN, Scene } from './testing/scene.js';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
});

const phases = (...runIds: string[]) => runIds.map((runId) => scene.view(runId).status);
const at = (step: number) => ({ checkpoint: { step, directory: `/step-${step}` }, skipped: [] });
const priority = (value: number) => ({ queue: { priority: value } });
const finish = (runId: string) => {
  scene.train(6 - scene.view(runId).step, runId);
  scene.checkpoint(6, runId);
};

describe('the queue', () => {
  it('lets several runs train at a time, each on workers of its own', () => {
    scene.attend('a', 'b', 'c', 'd');
    scene.launch({}, 'first');
    scene.launch({ workers: 1 }, 'second');
    scene.launch({ workers: 1 }, 'third');
    expect(['first', 'second', 'third'].map((runId) => scene.membersOf(runId))).toEqual([['a', 'b'], ['c'], ['d']]);
  });

  it('starts runs in the order of their launch, and those of a higher priority before', () => {
    scene.attend('a', 'b');
    for (const runId of ['first', 'second', 'third']) scene.launch({}, runId);
    scene.launch(priority(1), 'urgent');
    expect(['second', 'third', 'urgent'].map((runId) => scene.view(runId).queuePosition)).toEqual([2, 3, 1]);
    finish('first');
    expect(phases('urgent', 'second')).toEqual(['running', 'queued']);
    finish('urgent');
    expect(phases('second', 'third')).toEqual(['running', 'queued']);
  });

  it('says the place of a run, and what it waits for', () => {
    scene.attend('a', 'b');
    for (const runId of [RUN, 'next', 'later']) scene.launch({}, runId);
    expect(scene.view('next').reason).toBe(
      'it was launched; it waits for 2 more workers: it needs 2, 2 attend and 0 of them are idle',
    );
    expect(scene.view('later').reason).toBe(
      'it was launched; it is number 2 in the queue, it needs 2, 2 attend and 0 of them are idle',
    );
  });

  it('keeps idle workers for a large run, so that small ones behind it do not hold it up for ever', () => {
    scene.attend('a', 'b', 'c');
    scene.launch({}, 'small');
    scene.launch({ workers: 3 }, 'large');
    scene.launch({ workers: 1 }, 'tiny');
    expect(phases('large', 'tiny')).toEqual(['queued', 'queued']);
    finish('small');
    expect(phases('large', 'tiny')).toEqual(['running', 'queued']);
  });

  it('lets others pass a run that asks for more workers than there are', () => {
    scene.attend('a', 'b');
    scene.launch({ workers: 3 }, 'large');
    scene.launch({}, 'small');
    expect(phases('large', 'small')).toEqual(['queued', 'running']);
    expect(scene.view('large').reason).toContain('it waits for 3 more workers: it needs 3, 2 attend');
  });

  it('starts nothing before its time', () => {
    scene.attend('a', 'b');
    const notBefore = new Date(scene.nowMs + 60_000).toISOString();
    scene.launch({ queue: { notBefore } });
    expect(scene.view().reason).toBe(`it was launched; it waits until ${notBefore}`);
    scene.pass(59_000, 'a', 'b');
    expect(scene.view().status).toBe('queued');
    scene.pass(2000, 'a', 'b');
    expect(scene.view().status).toBe('running');
  });

  it('does not count a run whose time has not come among those in front of another', () => {
    scene.launch({ queue: { notBefore: new Date(scene.nowMs + 60_000).toISOString() } }, 'later');
    scene.launch({}, 'next');
    expect([scene.view('later').queuePosition, scene.view('next').queuePosition]).toEqual([null, 1]);
    expect(scene.view('next').reason).toContain('it waits for 2 more workers');
    scene.pass(61_000);
    expect([scene.view('later').queuePosition, scene.view('next').queuePosition]).toEqual([1, 2]);
  });

  it('starts nothing that a person paused, and nothing at all while it is paused itself', () => {
    scene.attend('a', 'b');
    scene.queue.isPaused = true;
    scene.listQueue();
    scene.launch();
    expect(scene.view().reason).toBe('it was launched; the queue is paused');
    scene.queue.pause(`run.${RUN}`);
    scene.queue.isPaused = false;
    scene.listQueue();
    expect(scene.view()).toMatchObject({
      status: 'queued',
      reason: 'it was launched; it is paused',
      queuePosition: null,
    });
    scene.queue.resume(`run.${RUN}`);
    scene.listQueue();
    expect(scene.view().status).toBe('running');
  });

  it('says when a run is expected to start, once the speed of those before it is known', () => {
    scene.attend('a', 'b');
    for (const runId of ['first', 'second', 'third']) scene.launch({}, runId);
    expect(scene.view('second').expectedStartMs).toBeNull();
    for (let step = 0; step < 3; step++) {
      scene.pass(10_000, 'a', 'b');
      scene.train(1, 'first');
    }
    scene.pass(100, 'a', 'b');
    const lastStepMs = scene.nowMs - 100;
    expect(scene.view('second').expectedStartMs).toBe(lastStepMs + 30_000);
    // The same work on as many workers takes as long.
    expect(scene.view('third').expectedStartMs).toBe(lastStepMs + 90_000);
  });
});

describe('a run of a higher priority', () => {
  it('takes the workers of another at its next checkpoint, and that one goes on from there afterwards', () => {
    scene.attend('a', 'b');
    scene.launch({}, 'patient');
    scene.train(1, 'patient');
    scene.launch(priority(5), 'urgent');
    expect(scene.view('patient').reason).toBe(
      'it trains step 2 of 6 on 2 workers, and leaves them to run urgent after step 2',
    );
    expect(scene.view('urgent').reason).toBe(
      'it was launched; it takes the workers of patient at their next checkpoint',
    );
    scene.train(1, 'patient');
    const kinds = scene.commands.map(({ kind }) => kind);
    expect(kinds.lastIndexOf('stopRun')).toBeLessThan(kinds.lastIndexOf('decideStep'));
    expect(scene.lastCommand('stopRun')).toMatchObject({ runId: 'patient', afterStep: 2 });
    scene.checkpoint(2, 'patient');
    expect(phases('patient', 'urgent')).toEqual(['queued', 'running']);
    expect(scene.view('patient')).toMatchObject({ step: 2, queuePosition: 1 });
    expect(scene.view('patient').reason).toContain('it left its workers to run urgent after step 2');
    finish('urgent');
    expect(scene.lastCommand('assign')).toMatchObject({
      runId: 'patient',
      firstStep: 3,
      state: { kind: 'checkpoint', directory: '/step-2' },
    });
    finish('patient');
    expect(phases('patient', 'urgent')).toEqual(['finished', 'finished']);
  });

  it('takes no more than it needs, the least important first, among equals the latest', () => {
    scene.attend('a', 'b', 'c', 'd');
    scene.launch({ workers: 1, ...priority(2) }, 'important');
    scene.launch({ workers: 1 }, 'early');
    scene.launch({ workers: 1 }, 'late');
    scene.launch({ workers: 1, ...priority(-1) }, 'least');
    scene.launch({ ...priority(1) }, 'urgent');
    const yields = (runId: string) => scene.view(runId).reason.includes('leaves them to run urgent');
    expect(['important', 'early', 'late', 'least'].filter(yields)).toEqual(['late', 'least']);
  });

  it('takes none of its equals, and none when all of the lesser ones together are not enough', () => {
    scene.attend('a', 'b', 'c');
    scene.launch({ ...priority(1) }, 'equal');
    scene.launch({ workers: 1 }, 'lesser');
    scene.launch({ workers: 3, ...priority(1) }, 'large');
    scene.train(2, 'equal');
    scene.train(2, 'lesser');
    expect(scene.commandsOf('stopRun')).toEqual([]);
  });

  it('no longer wants them once it is gone', () => {
    scene.attend('a', 'b');
    scene.launch({}, 'patient');
    scene.launch(priority(5), 'urgent');
    scene.on({ kind: 'stop', runId: 'urgent', saveCheckpoint: true });
    finish('patient');
    expect(scene.view('patient')).toMatchObject({ status: 'finished', generation: 1 });
  });

  it('does not take what a stop gives back anyway', () => {
    scene.attend('a', 'b', 'c', 'd');
    scene.launch({}, 'stopping');
    scene.launch({}, 'other');
    scene.on({ kind: 'stop', runId: 'stopping', saveCheckpoint: true });
    scene.launch(priority(1), 'urgent');
    expect(scene.view('other').reason).toBe('it trains step 1 of 6 on 2 workers');
  });

  it('leaves a person the last word: a run that yields can be stopped', () => {
    scene.attend('a', 'b');
    scene.launch();
    scene.launch(priority(5), 'urgent');
    scene.train(2);
    scene.stop();
    scene.checkpoint(2);
    expect(phases(RUN, 'urgent')).toEqual(['stopped', 'running']);
  });
});

describe('a run that fails', () => {
  const broken = { code: 'internal', message: 'the engine choked', cure: null } as const;
  const breakDown = (failure: { code: 'internal' | 'invalid_argument'; message: string; cure: null } = broken) => {
    const { generation, step } = scene.view();
    const outcome = { kind: 'failed', step, failure } as const;
    scene.on({ kind: 'ended', workerId: 'a', runId: RUN, generation, outcome });
  };
  beforeEach(() => scene.attend('a', 'b'));

  it('is tried again from its newest checkpoint, later every time, until its attempts are used up', () => {
    scene.launch({ queue: { maxAttempts: 3, backoffSeconds: 10 } });
    scene.train(3);
    breakDown();
    scene.on({ kind: 'checkpointFound', runId: RUN, found: at(2) });
    expect(scene.view()).toMatchObject({ status: 'queued', step: 2, failedAttempts: 1, maxAttempts: 3 });
    expect(scene.view().reason).toMatch(/^attempt 1 of 3 failed: rank 0: the engine choked; it waits until .*T/);
    scene.pass(9000, 'a', 'b');
    expect(scene.view().status).toBe('queued');
    scene.pass(2000, 'a', 'b');
    expect(scene.view()).toMatchObject({ status: 'running', generation: 2 });
    breakDown();
    scene.on({ kind: 'checkpointFound', runId: RUN, found: at(2) });
    scene.pass(19_000, 'a', 'b');
    expect(scene.view().status).toBe('queued');
    scene.pass(2000, 'a', 'b');
    breakDown();
    expect(scene.view()).toMatchObject({ status: 'failed', failedAttempts: 3, reason: 'rank 0: the engine choked' });
    expect(scene.queue.endOf(RUN)).toBe('failed');
  });

  it('is not tried again when only a person can help', () => {
    scene.launch({ queue: { maxAttempts: 3 } });
    breakDown({ code: 'invalid_argument', message: 'no such field', cure: null });
    expect(scene.view().status).toBe('failed');
  });

  it('has all its attempts again when it is resumed by hand, as another job', () => {
    scene.launch({ queue: { maxAttempts: 1 } });
    breakDown();
    expect(scene.view().status).toBe('failed');
    scene.resume(NOTHING);
    expect(scene.view()).toMatchObject({ status: 'running', failedAttempts: 0 });
    expect(scene.state.queue.jobs.map(({ id }) => id)).toEqual([`run.${RUN}.2`]);
  });

  it('waits its time although the coordinator goes away meanwhile', () => {
    scene.launch({ queue: { maxAttempts: 2, backoffSeconds: 10 } });
    breakDown();
    scene.restart('auto');
    scene.on({ kind: 'checkpointFound', runId: RUN, found: NOTHING });
    scene.attend('a', 'b');
    expect(scene.view()).toMatchObject({ status: 'queued', failedAttempts: 1 });
    scene.pass(11_000, 'a', 'b');
    expect(scene.view().status).toBe('running');
  });
});

describe('a coordinator that comes back to a queue', () => {
  beforeEach(() => {
    scene.attend('a', 'b');
    scene.launch();
    for (const runId of ['x', 'y']) scene.launch({ workers: 1 }, runId);
    scene.launch(priority(1), 'urgent');
    scene.train(1);
    scene.restart('auto');
    for (const runId of [RUN, 'x', 'y', 'urgent']) scene.on({ kind: 'checkpointFound', runId, found: NOTHING });
  });

  it('finds it as it was, and keeps the workers of the run at work for it until they are back', () => {
    expect(['urgent', 'x', 'y'].map((runId) => scene.view(runId).queuePosition)).toEqual([2, 3, 4]);
    scene.attend('a');
    expect(phases(RUN, 'urgent', 'x')).toEqual(['queued', 'queued', 'queued']);
    scene.attend('b');
    expect(phases(RUN, 'urgent', 'x')).toEqual(['running', 'queued', 'queued']);
  });

  it('gives them to others when they do not all come back in time', () => {
    scene.attend('a');
    scene.pass(16_000, 'a');
    expect(phases(RUN, 'urgent', 'x')).toEqual(['queued', 'queued', 'running']);
  });

  it('makes the queue fit the logs: what was decided and not carried out is carried out', () => {
    // As if the coordinator had died between the records of these decisions and their commands.
    scene.queue.cancel('run.x');
    scene.restart('auto');
    expect(scene.view('x')).toMatchObject({ status: 'stopped' });
    expect(scene.view('x').reason).toContain('its job was cancelled');
    expect(scene.state.queue.jobs.map(({ runId }) => runId)).toEqual(['urgent', RUN, 'y']);
  });
});
