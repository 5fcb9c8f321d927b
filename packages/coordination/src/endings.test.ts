import { beforeEach, describe, expect, it } from 'vitest';
import { mendMetrics } from './index.js';
import { RUN, Scene } from './testing/scene.js';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
  scene.attend('a', 'b');
  scene.launch({ steps: 4 });
});

const end = (workerId: string, step: number, kind: 'finished' | 'stopped' = 'finished') =>
  scene.on({ kind: 'ended', workerId, runId: RUN, generation: scene.view().generation, outcome: { kind, step } });

describe('a checkpoint', () => {
  it('has its manifest written by rank 0 when every part is on disk', () => {
    scene.train(2);
    scene.save('b', 2);
    expect(scene.commandsOf('writeManifest')).toEqual([]);
    scene.train(1);
    scene.save('a', 2);
    expect(scene.commandsOf('writeManifest')).toMatchObject([
      { workerId: 'a', generation: 1, step: 2, files: [{ name: 'a-2' }, { name: 'b-2' }] },
    ]);
    expect(scene.view().checkpointStep).toBe(0);
    scene.written('a', 2);
    expect(scene.view()).toMatchObject({ checkpointStep: 2, status: 'running' });
    expect(scene.log.at(-1)).toMatchObject({ kind: 'checkpointWritten', step: 2, directory: '/step-2' });
  });

  it('counts although the generation that wrote it is over by then', () => {
    scene.train(2);
    scene.save('a', 2);
    scene.save('b', 2);
    scene.leave('b');
    scene.written('a', 2);
    expect(scene.view().checkpointStep).toBe(2);
  });

  it('counts once, and not when it is of a state that nobody holds any more', () => {
    scene.train(2);
    scene.checkpoint(2);
    scene.written('a', 2);
    expect(scene.log.filter(({ kind }) => kind === 'checkpointWritten')).toHaveLength(1);
    scene.stop(false);
    scene.resume({ checkpoint: undefined, skipped: [] });
    scene.train(2);
    scene.written('a', 2, 1);
    expect(scene.view()).toMatchObject({ generation: 2, step: 2, checkpointStep: 0 });
  });

  it('is void when a rank was lost before its part was on disk', () => {
    scene.train(2);
    scene.save('a', 2);
    scene.leave('b');
    scene.pass(500, 'a');
    scene.save('a', 2, 1);
    expect(scene.commandsOf('writeManifest')).toEqual([]);
  });
});

describe('the end of a run', () => {
  it('comes with the last checkpoint, not with the last step', () => {
    scene.train(4);
    expect(scene.view()).toMatchObject({ status: 'running', step: 4, reason: 'its last checkpoint is being written' });
    scene.save('a', 4);
    end('a', 4);
    scene.save('b', 4);
    end('b', 4);
    expect(scene.view().status).toBe('running');
    scene.written('a', 4);
    expect(scene.view()).toMatchObject({ status: 'finished', checkpointStep: 4, worldSize: 0 });
    expect(scene.view().reason).toBe('all 4 steps are trained and their checkpoint is written');
    expect(scene.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], forget: true });
    scene.launch({ workers: 2 }, 'next');
    expect(scene.view('next').status).toBe('running');
  });

  it('needs only rank 0 once every part of the last checkpoint is on disk', () => {
    scene.train(4);
    scene.save('a', 4);
    scene.save('b', 4);
    scene.leave('b');
    scene.pass(500, 'a');
    expect(scene.view()).toMatchObject({ status: 'running', generation: 1 });
    scene.written('a', 4);
    expect(scene.view().status).toBe('finished');
  });

  it('is tried again by the others when rank 0 is lost before the manifest', () => {
    scene.train(4);
    scene.save('a', 4);
    scene.save('b', 4);
    scene.leave('a');
    scene.pass(500, 'b');
    expect(scene.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 5, state: { kind: 'keep' } });
    scene.checkpoint(4);
    expect(scene.view().status).toBe('finished');
  });

  it('is a failure when a rank ends early or without its part of the checkpoint', () => {
    scene.train(4);
    end('b', 4);
    expect(scene.view().failure).toMatchObject({
      code: 'internal',
      message: 'rank 1 ended after step 4 without its part of the checkpoint, where step 4 was to be the last',
    });
  });
});

describe('a failure that a worker reports', () => {
  it('fails the run in the words of the worker and frees the others', () => {
    scene.train(1);
    const failure = { code: 'corrupt_data', message: 'x.tar is truncated', cure: 'fetch it again' } as const;
    const outcome = { kind: 'failed', step: 1, failure } as const;
    scene.on({ kind: 'ended', workerId: 'b', runId: RUN, generation: 1, outcome });
    expect(scene.view()).toMatchObject({ status: 'failed', reason: 'rank 1: x.tar is truncated' });
    expect(scene.view().failure).toEqual({ ...failure, message: 'rank 1: x.tar is truncated' });
    expect(scene.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], forget: true });
  });

  it('is not taken from a worker that is no member', () => {
    scene.attend('c');
    const outcome = {
      kind: 'failed',
      step: 1,
      failure: { code: 'internal', message: 'no', cure: null },
    } as const;
    scene.on({ kind: 'ended', workerId: 'c', runId: RUN, generation: 1, outcome });
    expect(scene.view().status).toBe('running');
    expect(scene.reason).toBe(`worker c is not a member of run ${RUN}`);
  });
});

describe('metrics', () => {
  it('join what the ranks agreed on with what rank 0 measured', () => {
    scene.train(1);
    scene.report('a', 1);
    expect(scene.lastCommand('appendMetrics')?.row).toEqual({
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

  it('have one row per step even when rank 0 is lost before its report', () => {
    scene.train(1);
    scene.report('a', 1);
    scene.train(1);
    scene.leave('a');
    scene.pass(500, 'b');
    scene.train(1);
    scene.report('b', 3);
    scene.leave('b');
    const rows = scene.commandsOf('appendMetrics').map(({ row }) => row);
    expect(rows.map(({ step }) => step)).toEqual([1, 2, 3]);
    expect(rows[1]).toMatchObject({ loss: 2, tokensPerSecond: null, seconds: { data: null } });
  });

  it('take the report of a rank 0 that outlived its generation', () => {
    scene.train(1);
    scene.leave('b');
    scene.report('a', 1, 1);
    expect(scene.commandsOf('appendMetrics').map(({ row }) => row.tokensPerSecond)).toEqual([50]);
  });

  it('are made to fit the log again: rows of rolled back steps go, lost ones come back', () => {
    scene.train(2);
    scene.checkpoint(2);
    scene.train(1);
    const [first] = scene.commandsOf('appendMetrics').map(({ row }) => row);
    scene.stop(false);
    const checkpoint = { step: 2, directory: '/step-2' };
    scene.resume({ checkpoint, skipped: [] });
    const rolledBack = { ...first!, step: 3 };
    const mended = mendMetrics([{ ...first!, tokensPerSecond: 50 }, rolledBack], scene.log);
    expect(mended.map(({ step, loss, tokensPerSecond }) => [step, loss, tokensPerSecond])).toEqual([
      [1, 2, 50],
      [2, 2, null],
    ]);
  });
});
