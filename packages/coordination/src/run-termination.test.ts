import { beforeEach, describe, expect, it } from 'vitest';
import { repairMetrics } from './index.js';
import { DecideHarness, RUN } from './testing/decide-harness.js';

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  harness.connect('a', 'b');
  harness.launch({ steps: 4 });
});

const end = (workerId: string, step: number, kind: 'finished' | 'stopped' = 'finished') =>
  harness.handle({
    kind: 'ended',
    workerId,
    runId: RUN,
    generation: harness.view().generation,
    outcome: { kind, step },
  });

describe('a checkpoint', () => {
  it('has its manifest written by rank 0 when every part is on disk', () => {
    harness.train(2);
    harness.savePart('b', 2);
    expect(harness.commandsOf('writeManifest')).toEqual([]);
    harness.train(1);
    harness.savePart('a', 2);
    expect(harness.commandsOf('writeManifest')).toMatchObject([
      { workerId: 'a', generation: 1, step: 2, files: [{ name: 'a-2' }, { name: 'b-2' }] },
    ]);
    expect(harness.view().checkpointStep).toBe(0);
    harness.writeManifest('a', 2);
    expect(harness.view()).toMatchObject({ checkpointStep: 2, status: 'running' });
    expect(harness.log.at(-1)).toMatchObject({ kind: 'checkpointWritten', step: 2, directory: '/step-2' });
  });

  it('counts although the generation that wrote it is over by then', () => {
    harness.train(2);
    harness.savePart('a', 2);
    harness.savePart('b', 2);
    harness.disconnect('b');
    harness.writeManifest('a', 2);
    expect(harness.view().checkpointStep).toBe(2);
  });

  it('counts once, and not when it is of a state that nobody holds any more', () => {
    harness.train(2);
    harness.checkpoint(2);
    harness.writeManifest('a', 2);
    expect(harness.log.filter(({ kind }) => kind === 'checkpointWritten')).toHaveLength(1);
    harness.stop(false);
    harness.resume({ checkpoint: undefined, skipped: [] }, { fromStep: 0 });
    harness.train(2);
    harness.writeManifest('a', 2, 1);
    expect(harness.view()).toMatchObject({ generation: 2, step: 2, checkpointStep: 0 });
  });

  it('is void when a rank was lost before its part was on disk', () => {
    harness.train(2);
    harness.savePart('a', 2);
    harness.disconnect('b');
    harness.advance(500, 'a');
    harness.savePart('a', 2, 1);
    expect(harness.commandsOf('writeManifest')).toEqual([]);
  });
});

describe('the end of a run', () => {
  it('comes with the last checkpoint, not with the last step', () => {
    harness.train(4);
    expect(harness.view()).toMatchObject({
      status: 'running',
      step: 4,
      reason: 'its last checkpoint is being written',
    });
    harness.savePart('a', 4);
    end('a', 4);
    harness.savePart('b', 4);
    end('b', 4);
    expect(harness.view().status).toBe('running');
    harness.writeManifest('a', 4);
    expect(harness.view()).toMatchObject({ status: 'finished', checkpointStep: 4, worldSize: 0 });
    expect(harness.view().reason).toBe('all 4 steps are trained and their checkpoint is written');
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], discardState: true });
    harness.launch({ workers: 2 }, 'next');
    expect(harness.view('next').status).toBe('running');
  });

  it('needs only rank 0 once every part of the last checkpoint is on disk', () => {
    harness.train(4);
    harness.savePart('a', 4);
    harness.savePart('b', 4);
    harness.disconnect('b');
    harness.advance(500, 'a');
    expect(harness.view()).toMatchObject({ status: 'running', generation: 1 });
    harness.writeManifest('a', 4);
    expect(harness.view().status).toBe('finished');
  });

  it('is tried again by the others when rank 0 is lost before the manifest', () => {
    harness.train(4);
    harness.savePart('a', 4);
    harness.savePart('b', 4);
    harness.disconnect('a');
    harness.advance(500, 'b');
    expect(harness.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 5, startFrom: { kind: 'keep' } });
    harness.checkpoint(4);
    expect(harness.view().status).toBe('finished');
  });

  it('is a failure when a rank ends early or without its part of the checkpoint', () => {
    harness.train(4);
    end('b', 4);
    expect(harness.view().failure).toMatchObject({
      code: 'internal',
      message: 'rank 1 ended after step 4 without its part of the checkpoint, where step 4 was to be the last',
    });
  });
});

describe('a failure that a worker reports', () => {
  it('fails the run in the words of the worker and frees the others', () => {
    harness.train(1);
    const failure = { code: 'corrupt_data', message: 'x.tar is truncated', hint: 'fetch it again' } as const;
    const outcome = { kind: 'failed', step: 1, failure } as const;
    harness.handle({ kind: 'ended', workerId: 'b', runId: RUN, generation: 1, outcome });
    expect(harness.view()).toMatchObject({ status: 'failed', reason: 'rank 1: x.tar is truncated' });
    expect(harness.view().failure).toEqual({ ...failure, message: 'rank 1: x.tar is truncated' });
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], discardState: true });
  });

  it('is not taken from a worker that is no member', () => {
    harness.connect('c');
    const outcome = {
      kind: 'failed',
      step: 1,
      failure: { code: 'internal', message: 'no', hint: null },
    } as const;
    harness.handle({ kind: 'ended', workerId: 'c', runId: RUN, generation: 1, outcome });
    expect(harness.view().status).toBe('running');
    expect(harness.reason).toBe(`worker c is not a member of run ${RUN}`);
  });
});

describe('metrics', () => {
  it('join what the ranks agreed on with what rank 0 measured', () => {
    harness.train(1);
    harness.report('a', 1);
    expect(harness.lastCommand('appendMetrics')?.row).toEqual({
      step: 1,
      loss: 2,
      learningRate: 1e-3,
      gradNorm: 1,
      tokensPerSecond: 50,
      sequences: { captioned: 4, interleaved: 4, text: 1 },
      seconds: { data: 1, compute: 2, communication: 3, apply: 4 },
      generation: 1,
      time: '2026-01-01T00:00:00.000Z',
    });
  });

  it('hold the scores of tasks by number of shots, and their means, where one was not finite null', () => {
    harness.train(1);
    const score = { kind: 'caption', examples: 2, second: null, shortened: 0 } as const;
    const scores = [
      { ...score, task: 'coco', shots: 0, score: 70 },
      { ...score, task: 'coco', shots: 8, score: Number.NaN },
      { ...score, task: 'flickr', shots: 0, score: 60 },
      { ...score, task: 'arc', kind: 'multipleChoice', shots: 0, score: 25 } as const,
    ];
    harness.report('a', 1, 1, { taskScores: { scores, seconds: 2 } });
    expect(harness.lastCommand('appendMetrics')?.row.taskScores).toEqual({
      scores: { coco: { 0: 70, 8: null }, flickr: { 0: 60 }, arc: { 0: 25 } },
      average: { 0: 65, 8: null },
      textAverage: { 0: 25 },
      seconds: 2,
    });
  });

  it('have one row per step even when rank 0 is lost before its report', () => {
    harness.train(1);
    harness.report('a', 1);
    harness.train(1);
    harness.disconnect('a');
    harness.advance(500, 'b');
    harness.train(1);
    harness.report('b', 3);
    harness.disconnect('b');
    const rows = harness.commandsOf('appendMetrics').map(({ row }) => row);
    expect(rows.map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(rows[1]).toMatchObject({ loss: 2, tokensPerSecond: null, seconds: { data: null } });
  });

  it('take the report of a rank 0 that outlived its generation', () => {
    harness.train(1);
    harness.disconnect('b');
    harness.report('a', 1, 1);
    expect(harness.commandsOf('appendMetrics').map(({ row }) => row.tokensPerSecond)).toEqual([50]);
  });

  it('are made to fit the log again: rows of rolled back steps go, lost ones come back', () => {
    harness.train(2);
    harness.checkpoint(2);
    harness.train(1);
    const [first] = harness.commandsOf('appendMetrics').map(({ row }) => row);
    harness.stop(false);
    const checkpoint = { step: 2, directory: '/step-2' };
    harness.resume({ checkpoint, skipped: [] });
    const rolledBack = { ...first!, step: 3 };
    const mended = repairMetrics([{ ...first!, tokensPerSecond: 50 }, rolledBack], harness.log);
    expect(mended.map(({ step, loss, tokensPerSecond }) => [step, loss, tokensPerSecond])).toEqual([
      [1, 2, 50],
      [2, 2, null],
    ]);
  });
});
