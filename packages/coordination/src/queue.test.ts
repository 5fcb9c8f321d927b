import { beforeEach, describe, expect, it } from 'vitest';
import { DecideHarness, NO_CHECKPOINT, RUN } from './testing/decide-harness.js';
import { tinyConfig } from './testing/tiny-config.js';

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness({ returnMs: 0 });
});

const statuses = (...runIds: string[]) => runIds.map((runId) => harness.view(runId).status);
const at = (step: number) => ({ checkpoint: { step, directory: `/step-${step}` }, skipped: [] });
const priority = (value: number) => ({ queue: { priority: value } });
const finish = (runId: string) => {
  harness.train(6 - harness.view(runId).step, runId);
  harness.checkpoint(6, runId);
};

describe('the queue', () => {
  it('lets several runs train at a time, each on workers of its own', () => {
    harness.connect('a', 'b', 'c', 'd');
    harness.launch({}, 'first');
    harness.launch({ workers: 1 }, 'second');
    harness.launch({ workers: 1 }, 'third');
    expect(['first', 'second', 'third'].map((runId) => harness.membersOf(runId))).toEqual([['a', 'b'], ['c'], ['d']]);
  });

  it('starts runs in the order of their launch, and those of a higher priority before', () => {
    harness.connect('a', 'b');
    for (const runId of ['first', 'second', 'third']) harness.launch({}, runId);
    harness.launch(priority(1), 'urgent');
    expect(['second', 'third', 'urgent'].map((runId) => harness.view(runId).queuePosition)).toEqual([2, 3, 1]);
    finish('first');
    expect(statuses('urgent', 'second')).toEqual(['running', 'queued']);
    finish('urgent');
    expect(statuses('second', 'third')).toEqual(['running', 'queued']);
  });

  it('says the position of a run, and what it waits for', () => {
    harness.connect('a', 'b');
    for (const runId of [RUN, 'next', 'later']) harness.launch({}, runId);
    expect(harness.view('next').reason).toBe(
      'it was launched; it waits for 2 more workers: it needs 2, 2 are connected and 0 of them are idle',
    );
    expect(harness.view('later').reason).toBe(
      'it was launched; it is number 2 in the queue, it needs 2, 2 are connected and 0 of them are idle',
    );
  });

  it('keeps idle workers for a large run, so that small ones behind it do not hold it up for ever', () => {
    harness.connect('a', 'b', 'c');
    harness.launch({}, 'small');
    harness.launch({ workers: 3 }, 'large');
    harness.launch({ workers: 1 }, 'tiny');
    expect(statuses('large', 'tiny')).toEqual(['queued', 'queued']);
    finish('small');
    expect(statuses('large', 'tiny')).toEqual(['running', 'queued']);
  });

  it('lets others pass a run that asks for more workers than there are', () => {
    harness.connect('a', 'b');
    harness.launch({ workers: 3 }, 'large');
    harness.launch({}, 'small');
    expect(statuses('large', 'small')).toEqual(['queued', 'running']);
    expect(harness.view('large').reason).toContain('it waits for 3 more workers: it needs 3, 2 are connected');
  });

  it('starts nothing before its time', () => {
    harness.connect('a', 'b');
    const notBefore = new Date(harness.nowMs + 60_000).toISOString();
    harness.launch({ queue: { notBefore } });
    expect(harness.view().reason).toBe(`it was launched; it waits until ${notBefore}`);
    harness.advance(59_000, 'a', 'b');
    expect(harness.view().status).toBe('queued');
    harness.advance(2000, 'a', 'b');
    expect(harness.view().status).toBe('running');
  });

  it('starts nothing before the runs that it comes after have finished', () => {
    harness.connect('a', 'b');
    harness.launch({ workers: 3 }, 'encoder');
    harness.launch({ queue: { after: ['encoder', 'unknown'] } }, 'model');
    expect(harness.view('model')).toMatchObject({ status: 'queued', queuePosition: null });
    expect(harness.view('model').reason).toContain('it waits for run encoder, which has not finished');
    harness.launch({ queue: { after: ['nobody'] } }, 'lost');
    expect(harness.view('lost').reason).toContain('it waits for run nobody, which this coordinator does not know');
  });

  it('does not count a run whose time has not come among those in front of another', () => {
    harness.launch({ queue: { notBefore: new Date(harness.nowMs + 60_000).toISOString() } }, 'later');
    harness.launch({}, 'next');
    expect([harness.view('later').queuePosition, harness.view('next').queuePosition]).toEqual([null, 1]);
    expect(harness.view('next').reason).toContain('it waits for 2 more workers');
    harness.advance(61_000);
    expect([harness.view('later').queuePosition, harness.view('next').queuePosition]).toEqual([1, 2]);
  });

  it('starts nothing that a person paused, and nothing at all while it is paused itself', () => {
    harness.connect('a', 'b');
    harness.queue.isPaused = true;
    harness.listQueue();
    harness.launch();
    expect(harness.view().reason).toBe('it was launched; the queue is paused');
    harness.queue.pause(`run.${RUN}`);
    harness.queue.isPaused = false;
    harness.listQueue();
    expect(harness.view()).toMatchObject({
      status: 'queued',
      reason: 'it was launched; it is paused',
      queuePosition: null,
    });
    harness.queue.resume(`run.${RUN}`);
    harness.listQueue();
    expect(harness.view().status).toBe('running');
  });

  it('says when a run is expected to start, once the speed of those before it is known', () => {
    harness.connect('a', 'b');
    for (const runId of ['first', 'second', 'third']) harness.launch({}, runId);
    expect(harness.view('second').expectedStartMs).toBeNull();
    for (let step = 0; step < 3; step++) {
      harness.advance(10_000, 'a', 'b');
      harness.train(1, 'first');
    }
    harness.advance(100, 'a', 'b');
    const lastStepMs = harness.nowMs - 100;
    expect(harness.view('second').expectedStartMs).toBe(lastStepMs + 30_000);
    // The same work on as many workers takes as long.
    expect(harness.view('third').expectedStartMs).toBe(lastStepMs + 90_000);
  });

  it('promises no start to a run whose expert workers are not there', () => {
    harness.connect('a', 'b');
    const { model } = tinyConfig();
    const decoder = { ...model.decoder, moe: { experts: 4 } };
    harness.launch({ expertWorkers: 1, model: { ...model, decoder } }, 'sparse');
    harness.advance(100, 'a', 'b');
    expect(harness.view('sparse')).toMatchObject({ status: 'queued', expectedStartMs: null });
  });
});

describe('a run of a higher priority', () => {
  it('takes the workers of another at its next checkpoint, and that one goes on from there afterwards', () => {
    harness.connect('a', 'b');
    harness.launch({}, 'patient');
    harness.train(1, 'patient');
    harness.launch(priority(5), 'urgent');
    expect(harness.view('patient').reason).toBe(
      'it trains step 2 of 6 on 2 workers, and leaves them to run urgent after step 2',
    );
    expect(harness.view('urgent').reason).toBe(
      'it was launched; it takes the workers of patient at their next checkpoint',
    );
    harness.train(1, 'patient');
    const kinds = harness.commands.map(({ kind }) => kind);
    expect(kinds.lastIndexOf('stopRun')).toBeLessThan(kinds.lastIndexOf('decideStep'));
    expect(harness.lastCommand('stopRun')).toMatchObject({ runId: 'patient', afterStep: 2 });
    harness.checkpoint(2, 'patient');
    expect(statuses('patient', 'urgent')).toEqual(['queued', 'running']);
    expect(harness.view('patient')).toMatchObject({ step: 2, queuePosition: 1 });
    expect(harness.view('patient').reason).toContain('it left its workers to run urgent after step 2');
    finish('urgent');
    expect(harness.lastCommand('assign')).toMatchObject({
      runId: 'patient',
      firstStep: 3,
      startFrom: { kind: 'checkpoint', directory: '/step-2' },
    });
    finish('patient');
    expect(statuses('patient', 'urgent')).toEqual(['finished', 'finished']);
  });

  it('takes no more than it needs, the least important first, among equals the latest', () => {
    harness.connect('a', 'b', 'c', 'd');
    harness.launch({ workers: 1, ...priority(2) }, 'important');
    harness.launch({ workers: 1 }, 'early');
    harness.launch({ workers: 1 }, 'late');
    harness.launch({ workers: 1, ...priority(-1) }, 'least');
    harness.launch({ ...priority(1) }, 'urgent');
    const yields = (runId: string) => harness.view(runId).reason.includes('leaves them to run urgent');
    expect(['important', 'early', 'late', 'least'].filter(yields)).toEqual(['late', 'least']);
  });

  it('takes none of its equals, and none when all of the lesser ones together are not enough', () => {
    harness.connect('a', 'b', 'c');
    harness.launch({ ...priority(1) }, 'equal');
    harness.launch({ workers: 1 }, 'lesser');
    harness.launch({ workers: 3, ...priority(1) }, 'large');
    harness.train(2, 'equal');
    harness.train(2, 'lesser');
    expect(harness.commandsOf('stopRun')).toEqual([]);
  });

  it('no longer wants them once it is gone', () => {
    harness.connect('a', 'b');
    harness.launch({}, 'patient');
    harness.launch(priority(5), 'urgent');
    harness.handle({ kind: 'stop', runId: 'urgent', saveCheckpoint: true });
    finish('patient');
    expect(harness.view('patient')).toMatchObject({ status: 'finished', generation: 1 });
  });

  it('does not take what a stop gives back anyway', () => {
    harness.connect('a', 'b', 'c', 'd');
    harness.launch({}, 'stopping');
    harness.launch({}, 'other');
    harness.handle({ kind: 'stop', runId: 'stopping', saveCheckpoint: true });
    harness.launch(priority(1), 'urgent');
    expect(harness.view('other').reason).toBe('it trains step 1 of 6 on 2 workers');
  });

  it('leaves a person the last word: a run that yields can be stopped', () => {
    harness.connect('a', 'b');
    harness.launch();
    harness.launch(priority(5), 'urgent');
    harness.train(2);
    harness.stop();
    harness.checkpoint(2);
    expect(statuses(RUN, 'urgent')).toEqual(['stopped', 'running']);
  });
});

describe('a run that fails', () => {
  const broken = { code: 'internal', message: 'the engine choked', hint: null } as const;
  const breakDown = (failure: { code: 'internal' | 'invalid_argument'; message: string; hint: null } = broken) => {
    const { generation, step } = harness.view();
    const outcome = { kind: 'failed', step, failure } as const;
    harness.handle({ kind: 'ended', workerId: 'a', runId: RUN, generation, outcome });
  };
  beforeEach(() => harness.connect('a', 'b'));

  it('is tried again from its newest checkpoint, later every time, until its attempts are used up', () => {
    harness.launch({ queue: { maxAttempts: 3, backoffSeconds: 10 } });
    harness.train(3);
    breakDown();
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: at(2) });
    expect(harness.view()).toMatchObject({ status: 'queued', step: 2, failedAttempts: 1, maxAttempts: 3 });
    expect(harness.view().reason).toMatch(/^attempt 1 of 3 failed: rank 0: the engine choked; it waits until .*T/);
    harness.advance(9000, 'a', 'b');
    expect(harness.view().status).toBe('queued');
    harness.advance(2000, 'a', 'b');
    expect(harness.view()).toMatchObject({ status: 'running', generation: 2 });
    breakDown();
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: at(2) });
    harness.advance(19_000, 'a', 'b');
    expect(harness.view().status).toBe('queued');
    harness.advance(2000, 'a', 'b');
    breakDown();
    expect(harness.view()).toMatchObject({ status: 'failed', failedAttempts: 3, reason: 'rank 0: the engine choked' });
    expect(harness.queue.endOf(RUN)).toBe('failed');
  });

  it('is not tried again when only a person can help', () => {
    harness.launch({ queue: { maxAttempts: 3 } });
    breakDown({ code: 'invalid_argument', message: 'no such field', hint: null });
    expect(harness.view().status).toBe('failed');
  });

  it('has all its attempts again when it is resumed by hand, as another job', () => {
    harness.launch({ queue: { maxAttempts: 1 } });
    breakDown();
    expect(harness.view().status).toBe('failed');
    harness.resume(NO_CHECKPOINT);
    expect(harness.view()).toMatchObject({ status: 'running', failedAttempts: 0 });
    expect(harness.state.queue.jobs.map(({ id }) => id)).toEqual([`run.${RUN}.2`]);
  });

  it('waits its time although the coordinator goes away meanwhile', () => {
    harness.launch({ queue: { maxAttempts: 2, backoffSeconds: 10 } });
    breakDown();
    harness.restart('auto');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: NO_CHECKPOINT });
    harness.connect('a', 'b');
    expect(harness.view()).toMatchObject({ status: 'queued', failedAttempts: 1 });
    harness.advance(11_000, 'a', 'b');
    expect(harness.view().status).toBe('running');
  });
});

describe('a coordinator that comes back to a queue', () => {
  beforeEach(() => {
    harness.connect('a', 'b');
    harness.launch();
    for (const runId of ['x', 'y']) harness.launch({ workers: 1 }, runId);
    harness.launch(priority(1), 'urgent');
    harness.train(1);
    harness.restart('auto');
    for (const runId of [RUN, 'x', 'y', 'urgent'])
      harness.handle({ kind: 'checkpointFound', runId, found: NO_CHECKPOINT });
  });

  it('finds it as it was, and keeps the workers of the run that was training for it until they are back', () => {
    expect(['urgent', 'x', 'y'].map((runId) => harness.view(runId).queuePosition)).toEqual([2, 3, 4]);
    harness.connect('a');
    expect(statuses(RUN, 'urgent', 'x')).toEqual(['queued', 'queued', 'queued']);
    harness.connect('b');
    expect(statuses(RUN, 'urgent', 'x')).toEqual(['running', 'queued', 'queued']);
  });

  it('gives them to others when they do not all come back in time', () => {
    harness.connect('a');
    harness.advance(16_000, 'a');
    expect(statuses(RUN, 'urgent', 'x')).toEqual(['queued', 'queued', 'running']);
  });

  it('makes the queue fit the logs: what was decided and not carried out is carried out', () => {
    // As if the coordinator had died between the records of these decisions and their commands.
    harness.queue.cancel('run.x');
    harness.restart('auto');
    expect(harness.view('x')).toMatchObject({ status: 'stopped' });
    expect(harness.view('x').reason).toContain('its job was cancelled');
    expect(harness.state.queue.jobs.map(({ runId }) => runId)).toEqual(['urgent', RUN, 'y']);
  });
});
