import { combineDigests, Ledger } from '@weft/mixture';
import { beforeEach, describe, expect, it } from 'vitest';
import { ledgerRecords } from './index.js';
import { RUN, Scene } from './testing/scene.js';

let scene: Scene;
beforeEach(() => {
  scene = new Scene();
  scene.attend('a', 'b');
  scene.launch({ steps: 30 });
});

describe('the vote on a step', () => {
  it('commits when every rank has voted, not before, and tells all', () => {
    scene.vote('b');
    expect(scene.view().step).toBe(0);
    expect(scene.commandsOf('decideStep')).toEqual([]);
    scene.vote('a');
    expect(scene.view().step).toBe(1);
    expect(scene.commandsOf('decideStep')).toEqual([
      {
        kind: 'decideStep',
        workerIds: ['a', 'b'],
        runId: RUN,
        generation: 1,
        step: 1,
        apply: true,
        gradNorm: 1,
        lossTokens: 100,
      },
    ]);
  });

  it('writes down what the step consumed and what came of it', () => {
    const digests = ['1', '2'].map((digit) => digit.repeat(64));
    scene.vote('b', { sequenceDigest: digests[1]!, loss: 5.5, gradNorm: 0.25, lossTokens: 77 });
    scene.vote('a', { sequenceDigest: digests[0]!, loss: 5.5, gradNorm: 0.25, lossTokens: 77 });
    expect(scene.log.at(-1)).toEqual({
      kind: 'committed',
      time: '2026-01-01T00:00:00.000Z',
      gradNorm: 0.25,
      lossTokens: 77,
      worldSize: 2,
      entry: {
        step: 1,
        generation: 1,
        firstSequence: 0,
        endSequence: 9,
        ranges: { captioned: { first: 0, end: 4 }, interleaved: { first: 0, end: 4 }, text: { first: 0, end: 1 } },
        digest: combineDigests(digests),
        loss: 5.5,
        applied: true,
      },
    });
  });

  it('ends the run when ranks disagree by a single bit, and names them', () => {
    scene.vote('a', { loss: 1 });
    scene.vote('b', { loss: 1 + Number.EPSILON });
    expect(scene.view()).toMatchObject({ status: 'failed', step: 0, failure: { code: 'internal' } });
    expect(scene.view().reason).toBe('the ranks disagree on loss in step 1: 1 on rank 0, 1.0000000000000002 on rank 1');
    expect(scene.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], forget: true });
  });

  it('takes 0 and −0 for different gradient norms', () => {
    scene.vote('a', { gradNorm: 0 });
    scene.vote('b', { gradNorm: -0 });
    expect(scene.view().status).toBe('failed');
  });

  it('counts but does not apply a step that is not finite for any rank', () => {
    scene.vote('a', { finite: false, loss: Number.NaN, gradNorm: Number.POSITIVE_INFINITY });
    scene.vote('b');
    expect(scene.lastCommand('decideStep')).toMatchObject({ step: 1, apply: false });
    expect(scene.log.at(-1)).toMatchObject({ gradNorm: null, entry: { loss: null, applied: false } });
    expect(scene.view()).toMatchObject({ status: 'running', step: 1 });
  });

  it('ends the run after ten refused steps in a row, not after nine and one good one', () => {
    const refuse = (count: number) => {
      for (let i = 0; i < count; i++) for (const worker of ['a', 'b']) scene.vote(worker, { finite: false });
    };
    refuse(9);
    scene.train(1);
    refuse(9);
    expect(scene.view().status).toBe('running');
    refuse(1);
    expect(scene.view()).toMatchObject({ status: 'failed', step: 20, failure: { code: 'failed_precondition' } });
    expect(scene.view().reason).toBe('the gradients were not finite in 10 steps in a row, 11 to 20');
  });

  it('does not count a vote of an older generation', () => {
    scene.train(1);
    scene.breakRing('a');
    scene.pass(500, 'a', 'b');
    expect(scene.view().generation).toBe(2);
    scene.vote('a', {}, 1);
    scene.vote('b');
    expect(scene.view().step).toBe(1);
    expect(Ledger.fold(ledgerRecords(scene.log)).lastStep).toBe(1);
  });

  it('ends the run when a rank votes twice or for another step than the open one', () => {
    scene.vote('a');
    scene.vote('a');
    expect(scene.view().failure?.message).toBe(
      'rank 0 voted for step 1 out of turn: the open step is 1, which it voted for before',
    );
    scene = new Scene();
    scene.attend('a', 'b');
    scene.launch({ steps: 30 });
    scene.vote('b', { step: 3 });
    expect(scene.view().failure?.message).toBe(
      'rank 1 voted for step 3 out of turn: the open step is 1, and step 30 is the last',
    );
  });

  it('gives up a rank that lives but does not vote when the others have', () => {
    scene = new Scene({ voteTimeoutMs: 20_000 });
    scene.attend('a', 'b');
    scene.launch();
    scene.vote('a');
    scene.pass(21_000, 'a', 'b');
    expect(scene.lastCommand('dismiss')).toMatchObject({ workerId: 'b', code: 'deadline_exceeded' });
    expect(scene.members).toEqual(['a']);
    expect(scene.log.find(({ kind }) => kind === 'workerLost')).toMatchObject({
      rank: 1,
      reason: 'it did not vote for step 1 within 20 s of the others',
    });
  });
});
