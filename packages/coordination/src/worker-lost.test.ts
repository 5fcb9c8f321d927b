import type { RunFailure } from '@weft/contracts';
import { beforeEach, describe, expect, it } from 'vitest';
import { DecideHarness, NO_CHECKPOINT, RUN } from './testing/decide-harness.js';

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness({ returnMs: 0 });
  harness.connect('a', 'b', 'c');
  harness.launch({ workers: 3 });
});

describe('a worker that is lost', () => {
  it('costs the current step only: the others go on from memory in a new generation', () => {
    harness.train(2);
    harness.vote('a');
    harness.disconnect('b');
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'c'], generation: 1, discardState: false });
    expect(harness.view().reason).toBe('the ring forms again: rank 1 (b on host) was lost: its stream ended');
    harness.advance(500, 'a', 'c');
    expect(harness.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 3, startFrom: { kind: 'keep' } });
    expect(harness.members).toEqual(['a', 'c']);
    harness.train(4);
    expect(harness.view()).toMatchObject({ step: 6, worldSize: 2, workers: 3 });
    expect(harness.log.filter(({ kind }) => kind === 'committed')).toHaveLength(6);
  });

  it('is noticed by its silence', () => {
    harness.train(1);
    harness.advance(10_500, 'a', 'c');
    expect(harness.members).toEqual(['a', 'c']);
    expect(harness.commandsOf('dismiss')).toEqual([
      {
        kind: 'dismiss',
        workerId: 'b',
        code: 'deadline_exceeded',
        message: 'the coordinator gave up worker b: it sent no heartbeat for 10 s',
      },
    ]);
  });

  it('is not blamed when the coordinator itself stood still', () => {
    harness.advance(200, 'a', 'b', 'c');
    harness.nowMs += 60_000;
    harness.handle({ kind: 'tick' });
    expect(harness.reason).toBe('the clock jumped, so every timeout starts again');
    harness.advance(9000);
    expect(harness.members).toEqual(['a', 'b', 'c']);
  });

  it('does not open a generation for each of several losses of the same moment', () => {
    harness.train(1);
    harness.disconnect('a', 'b');
    harness.advance(1000, 'c');
    expect(harness.view()).toMatchObject({ generation: 2, worldSize: 1 });
  });

  it('before anybody has trained makes the others begin afresh, not from memory', () => {
    harness.disconnect('a');
    harness.advance(500, 'b', 'c');
    expect(harness.lastCommand('assign')).toMatchObject({ generation: 2, firstStep: 1, startFrom: { kind: 'fresh' } });
  });

  it('as the last one queues the run, which resumes from its newest checkpoint when workers connect', () => {
    harness.train(2);
    harness.checkpoint(2);
    harness.train(1);
    harness.disconnect('a', 'b', 'c');
    expect(harness.view()).toMatchObject({ status: 'queued', step: 3 });
    expect(harness.view().reason).toContain('it lost its last worker (rank 0 (c on host) was lost: its stream ended)');
    expect(harness.lastCommand('findCheckpoint')).toEqual({
      ...{ kind: 'findCheckpoint', runId: RUN, notAfterStep: 3 },
      skippedBatches: [],
      known: [{ step: 2, directory: '/step-2' }],
    });
    harness.connect('d', 'e', 'f');
    expect(harness.view().status).toBe('queued');
    const checkpoint = { step: 2, directory: '/step-2' };
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: { checkpoint, skipped: [] } });
    expect(harness.lastCommand('repairMetrics')).toEqual({ kind: 'repairMetrics', runId: RUN });
    expect(harness.lastCommand('assign')).toMatchObject({
      generation: 2,
      firstStep: 3,
      startFrom: { kind: 'checkpoint', directory: '/step-2' },
    });
    harness.train(1);
    harness.disconnect('d');
    harness.advance(500, 'e', 'f');
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 4, startFrom: { kind: 'keep' } });
  });

  it('as the last one starts the run again from step 0 where no checkpoint is left', () => {
    harness.train(1);
    harness.disconnect('a', 'b', 'c');
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: NO_CHECKPOINT });
    expect(harness.view()).toMatchObject({ status: 'queued', step: 0 });
    harness.connect('d', 'e', 'f');
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 1, startFrom: { kind: 'fresh' } });
  });

  it('counts as lost when it connects again on another stream', () => {
    harness.train(1);
    harness.connect('b');
    harness.advance(500, 'a', 'b', 'c');
    expect(harness.members).toEqual(['a', 'c']);
    expect(harness.log.find(({ kind }) => kind === 'workerLost')).toMatchObject({
      workerId: 'b',
      reason: 'it connected again on a new stream',
    });
  });
});

describe('a worker whose own engine is at fault', () => {
  const OUT_OF_MEMORY = { code: 'out_of_memory', message: 'the device is out of memory', hint: 'use less' } as const;
  const fault = (workerId: string, failure: RunFailure = OUT_OF_MEMORY) =>
    harness.handle({
      kind: 'ended',
      workerId,
      runId: RUN,
      generation: harness.view().generation,
      outcome: { kind: 'failed', step: harness.view().step, failure },
    });

  it('is dismissed with its words, and the others go on from memory', () => {
    harness.train(1);
    fault('b');
    expect(harness.commandsOf('dismiss')).toEqual([
      {
        kind: 'dismiss',
        workerId: 'b',
        code: 'out_of_memory',
        message: 'the coordinator gave up worker b: the device is out of memory: use less',
      },
    ]);
    expect(harness.log.find(({ kind }) => kind === 'workerLost')).toMatchObject({
      workerId: 'b',
      reason: 'the device is out of memory: use less',
    });
    expect(harness.view().reason).toContain('rank 1 (b on host) was lost: the device is out of memory: use less');
    harness.advance(500, 'a', 'c');
    expect(harness.view()).toMatchObject({ status: 'running', worldSize: 2 });
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 2, startFrom: { kind: 'keep' } });
  });

  it('explains the ring that broke at the others before', () => {
    harness.train(1);
    harness.breakRing('a');
    fault('b', { code: 'device_failed', message: 'the device failed', hint: null });
    harness.advance(500, 'a', 'c');
    expect(harness.members).toEqual(['a', 'c']);
  });

  it('as the last one ends the run with its words, and may serve another run', () => {
    for (const workerId of ['a', 'b', 'c']) fault(workerId);
    expect(harness.view()).toMatchObject({
      status: 'failed',
      failure: { ...OUT_OF_MEMORY, message: expect.stringMatching(/: the device is out of memory$/) },
    });
    expect(harness.commandsOf('dismiss').map(({ workerId }) => workerId)).toEqual(['a', 'b']);
  });

  it('as the last one is dismissed all the same where its device failed', () => {
    for (const workerId of ['a', 'b', 'c']) fault(workerId, { ...OUT_OF_MEMORY, code: 'device_failed' });
    expect(harness.commandsOf('dismiss').map(({ workerId }) => workerId)).toEqual(['a', 'b', 'c']);
    expect(harness.state.workers.size).toBe(0);
  });

  it('ends the run where every worker would fail alike', () => {
    fault('b', { code: 'internal', message: 'a bug', hint: null });
    expect(harness.view()).toMatchObject({ status: 'failed' });
    expect(harness.commandsOf('dismiss')).toEqual([]);
  });
});

describe('a broken ring', () => {
  it('waits for the loss that explains it', () => {
    harness.train(1);
    harness.breakRing('a');
    harness.advance(5000, 'a', 'c');
    expect(harness.view()).toMatchObject({ generation: 1, worldSize: 0 });
    harness.disconnect('b');
    harness.advance(500, 'a', 'c');
    expect(harness.view()).toMatchObject({ generation: 2, worldSize: 2 });
    expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 2, startFrom: { kind: 'keep' } });
  });

  it('forms again with all once every member has sent a heartbeat since', () => {
    harness.train(1);
    harness.breakRing('a');
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b', 'c'], discardState: false });
    harness.advance(500, 'a');
    expect(harness.view().worldSize).toBe(0);
    harness.advance(500, 'a', 'b', 'c');
    expect(harness.view()).toMatchObject({ generation: 2, worldSize: 3 });
  });

  it('declares a silent member lost in the end', () => {
    harness.train(1);
    harness.breakRing('a');
    harness.advance(11_000, 'a', 'c');
    expect(harness.members).toEqual(['a', 'c']);
  });

  it('ends the run when it breaks again and again without a step between and with nobody lost', () => {
    for (let i = 0; i < 4; i++) {
      harness.breakRing('a');
      harness.advance(500, 'a', 'b', 'c');
    }
    expect(harness.view()).toMatchObject({ status: 'running', generation: 5 });
    harness.train(1);
    for (let i = 0; i < 5; i++) {
      harness.breakRing('b');
      harness.advance(500, 'a', 'b', 'c');
    }
    expect(harness.view()).toMatchObject({ status: 'failed', step: 1, failure: { code: 'unavailable' } });
    expect(harness.view().reason).toBe(
      'the ring broke 5 times in a row without a step between; the last time, the ring broke at rank 1 in step 2: peer gone',
    );
  });

  it('reported by a second rank of the same generation changes nothing', () => {
    harness.breakRing('a');
    harness.breakRing('b', 1);
    expect(harness.log.filter(({ kind }) => kind === 'ringBroke')).toHaveLength(1);
  });
});
