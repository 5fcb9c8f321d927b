import { beforeEach, describe, expect, it } from 'vitest';
import { NOTHING, RUN, Scene } from './testing/scene.js';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
  scene.attend('a', 'b', 'c');
  scene.launch({ workers: 3 });
});

describe('a worker that is lost', () => {
  it('costs the step in hand only: the others go on from memory in a new generation', () => {
    scene.train(2);
    scene.vote('a');
    scene.leave('b');
    expect(scene.lastCommand('release')).toMatchObject({ workerIds: ['a', 'c'], generation: 1, forget: false });
    expect(scene.view().reason).toBe('the ring forms anew: rank 1 (b on host) was lost: its stream ended');
    scene.pass(500, 'a', 'c');
    expect(scene.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 3, state: { kind: 'keep' } });
    expect(scene.members).toEqual(['a', 'c']);
    scene.train(4);
    expect(scene.view()).toMatchObject({ step: 6, worldSize: 2, workers: 3 });
    expect(scene.log.filter(({ kind }) => kind === 'committed')).toHaveLength(6);
  });

  it('is noticed by its silence', () => {
    scene.train(1);
    scene.pass(10_500, 'a', 'c');
    expect(scene.members).toEqual(['a', 'c']);
    expect(scene.commandsOf('dismiss')).toEqual([
      {
        kind: 'dismiss',
        workerId: 'b',
        code: 'deadline_exceeded',
        message: 'the coordinator gave worker b up: it gave no sign of life for 10 s',
      },
    ]);
  });

  it('is not blamed when the coordinator itself stood still', () => {
    scene.pass(200, 'a', 'b', 'c');
    scene.nowMs += 60_000;
    scene.on({ kind: 'tick' });
    expect(scene.reason).toBe('the clock jumped, so every worker is given its time anew');
    scene.pass(9000);
    expect(scene.members).toEqual(['a', 'b', 'c']);
  });

  it('does not open a generation for each of several losses of the same moment', () => {
    scene.train(1);
    scene.leave('a', 'b');
    scene.pass(1000, 'c');
    expect(scene.view()).toMatchObject({ generation: 2, worldSize: 1 });
  });

  it('before anybody has trained makes the others begin afresh, not from memory', () => {
    scene.leave('a');
    scene.pass(500, 'b', 'c');
    expect(scene.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 1, state: { kind: 'fresh' } });
  });

  it('as the last one queues the run, which resumes from its newest checkpoint when workers attend', () => {
    scene.train(2);
    scene.checkpoint(2);
    scene.train(1);
    scene.leave('a', 'b', 'c');
    expect(scene.view()).toMatchObject({ status: 'queued', step: 3 });
    expect(scene.view().reason).toContain('it lost its last worker (rank 0 (c on host) was lost: its stream ended)');
    expect(scene.lastCommand('findCheckpoint')).toEqual({ kind: 'findCheckpoint', runId: RUN, notAfterStep: 3 });
    scene.attend('d', 'e', 'f');
    expect(scene.view().status).toBe('queued');
    const checkpoint = { step: 2, directory: '/step-2' };
    scene.on({ kind: 'checkpointFound', runId: RUN, found: { checkpoint, skipped: [] } });
    expect(scene.lastCommand('mendMetrics')).toEqual({ kind: 'mendMetrics', runId: RUN });
    expect(scene.lastCommand('assign')).toMatchObject({
      generation: 2,
      firstStep: 3,
      state: { kind: 'checkpoint', directory: '/step-2' },
    });
    scene.train(1);
    scene.leave('d');
    scene.pass(500, 'e', 'f');
    expect(scene.lastCommand('assign')).toMatchObject({ firstStep: 4, state: { kind: 'keep' } });
  });

  it('as the last one starts the run again from step 0 where no checkpoint is left', () => {
    scene.train(1);
    scene.leave('a', 'b', 'c');
    scene.on({ kind: 'checkpointFound', runId: RUN, found: NOTHING });
    expect(scene.view()).toMatchObject({ status: 'queued', step: 0 });
    scene.attend('d', 'e', 'f');
    expect(scene.lastCommand('assign')).toMatchObject({ firstStep: 1, state: { kind: 'fresh' } });
  });

  it('counts as lost when it attends anew on another stream', () => {
    scene.train(1);
    scene.attend('b');
    scene.pass(500, 'a', 'b', 'c');
    expect(scene.members).toEqual(['a', 'c']);
    expect(scene.log.find(({ kind }) => kind === 'workerLost')).toMatchObject({
      workerId: 'b',
      reason: 'it attended again on a new stream',
    });
  });
});

describe('a broken ring', () => {
  it('waits for the loss that explains it', () => {
    scene.train(1);
    scene.breakRing('a');
    scene.pass(5000, 'a', 'c');
    expect(scene.view()).toMatchObject({ generation: 1, worldSize: 0 });
    scene.leave('b');
    scene.pass(500, 'a', 'c');
    expect(scene.view()).toMatchObject({ generation: 2, worldSize: 2 });
    expect(scene.lastCommand('assign')).toMatchObject({ firstStep: 2, state: { kind: 'keep' } });
  });

  it('forms anew with all once every member has given a sign of life since', () => {
    scene.train(1);
    scene.breakRing('a');
    expect(scene.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b', 'c'], forget: false });
    scene.pass(500, 'a');
    expect(scene.view().worldSize).toBe(0);
    scene.pass(500, 'a', 'b', 'c');
    expect(scene.view()).toMatchObject({ generation: 2, worldSize: 3 });
  });

  it('declares a silent member lost in the end', () => {
    scene.train(1);
    scene.breakRing('a');
    scene.pass(11_000, 'a', 'c');
    expect(scene.members).toEqual(['a', 'c']);
  });

  it('ends the run when it breaks again and again without a step between and with nobody lost', () => {
    for (let i = 0; i < 4; i++) {
      scene.breakRing('a');
      scene.pass(500, 'a', 'b', 'c');
    }
    expect(scene.view()).toMatchObject({ status: 'running', generation: 5 });
    scene.train(1);
    for (let i = 0; i < 5; i++) {
      scene.breakRing('b');
      scene.pass(500, 'a', 'b', 'c');
    }
    expect(scene.view()).toMatchObject({ status: 'failed', step: 1, failure: { code: 'unavailable' } });
    expect(scene.view().reason).toBe(
      'the ring broke 5 times in a row without a step between; the last time, the ring broke at rank 1 in step 2: peer gone',
    );
  });

  it('reported by a second rank of the same generation changes nothing', () => {
    scene.breakRing('a');
    scene.breakRing('b', 1);
    expect(scene.log.filter(({ kind }) => kind === 'ringBroke')).toHaveLength(1);
  });
});
