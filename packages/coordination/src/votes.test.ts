import { combineDigests, Ledger } from '@weft/mixture';
import { beforeEach, describe, expect, it } from 'vitest';
import { ledgerRecords } from './index.js';
import { DecideHarness, RUN } from './testing/decide-harness.js';

let harness: DecideHarness;
beforeEach(() => {
  harness = new DecideHarness();
  harness.connect('a', 'b');
  harness.launch({ steps: 30 });
});

describe('the vote on a step', () => {
  it('commits when every rank has voted, not before, and sends the decision to all', () => {
    harness.vote('b');
    expect(harness.view().step).toBe(0);
    expect(harness.commandsOf('decideStep')).toEqual([]);
    harness.vote('a');
    expect(harness.view().step).toBe(1);
    expect(harness.commandsOf('decideStep')).toEqual([
      {
        kind: 'decideStep',
        workerIds: ['a', 'b'],
        runId: RUN,
        generation: 1,
        step: 1,
        apply: true,
        gradNorm: 1,
        lossTokens: 100,
        leastCommunicationSeconds: 0,
      },
    ]);
  });

  it('writes down what the step consumed and what came of it', () => {
    const digests = ['1', '2'].map((digit) => digit.repeat(64));
    harness.vote('b', { sequenceDigest: digests[1]!, loss: 5.5, gradNorm: 0.25, lossTokens: 77 });
    harness.vote('a', { sequenceDigest: digests[0]!, loss: 5.5, gradNorm: 0.25, lossTokens: 77 });
    expect(harness.log.at(-1)).toEqual({
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
    harness.vote('a', { loss: 1 });
    harness.vote('b', { loss: 1 + Number.EPSILON });
    expect(harness.view()).toMatchObject({ status: 'failed', step: 0, failure: { code: 'internal' } });
    expect(harness.view().reason).toBe(
      'the ranks disagree on loss in step 1: 1 on rank 0, 1.0000000000000002 on rank 1',
    );
    expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], discardState: true });
  });

  it('takes 0 and −0 for different gradient norms', () => {
    harness.vote('a', { gradNorm: 0 });
    harness.vote('b', { gradNorm: -0 });
    expect(harness.view().status).toBe('failed');
  });

  it('counts but does not apply a step that is not finite for any rank', () => {
    harness.vote('a', { finite: false, loss: Number.NaN, gradNorm: Number.POSITIVE_INFINITY });
    harness.vote('b');
    expect(harness.lastCommand('decideStep')).toMatchObject({ step: 1, apply: false });
    expect(harness.log.at(-1)).toMatchObject({ gradNorm: null, entry: { loss: null, applied: false } });
    expect(harness.view()).toMatchObject({ status: 'running', step: 1 });
  });

  it('counts but does not apply a step without targets, which is no sign of a sick run', () => {
    for (let step = 1; step <= 20; step++)
      for (const worker of ['a', 'b']) harness.vote(worker, { loss: 0, gradNorm: 0, lossTokens: 0 });
    expect(harness.lastCommand('decideStep')).toMatchObject({ step: 20, apply: false });
    expect(harness.log.at(-1)).toMatchObject({ gradNorm: 0, lossTokens: 0, entry: { loss: 0, applied: false } });
    expect(harness.view()).toMatchObject({ status: 'running', step: 20, loss: 0 });
    expect(harness.reason).toContain('it is not applied: no targets in this step');
  });

  it('ends the run after ten refused steps in a row, not after nine and one good one', () => {
    const refuse = (count: number) => {
      for (let i = 0; i < count; i++) for (const worker of ['a', 'b']) harness.vote(worker, { finite: false });
    };
    refuse(9);
    harness.train(1);
    refuse(9);
    expect(harness.view().status).toBe('running');
    refuse(1);
    expect(harness.view()).toMatchObject({ status: 'failed', step: 20, failure: { code: 'failed_precondition' } });
    expect(harness.view().reason).toBe('the gradients were not finite in 10 steps in a row, 11 to 20');
  });

  it('does not count a vote of an older generation', () => {
    harness.train(1);
    harness.breakRing('a');
    harness.advance(500, 'a', 'b');
    expect(harness.view().generation).toBe(2);
    harness.vote('a', {}, 1);
    harness.vote('b');
    expect(harness.view().step).toBe(1);
    expect(Ledger.fold(ledgerRecords(harness.log)).lastStep).toBe(1);
  });

  it('ends the run when a rank votes twice or for another step than the open one', () => {
    harness.vote('a');
    harness.vote('a');
    expect(harness.view().failure?.message).toBe(
      'rank 0 voted for step 1 out of order: the open step is 1, which it voted for before',
    );
    harness = new DecideHarness();
    harness.connect('a', 'b');
    harness.launch({ steps: 30 });
    harness.vote('b', { step: 3 });
    expect(harness.view().failure?.message).toBe(
      'rank 1 voted for step 3 out of order: the open step is 1, and step 30 is the last',
    );
  });

  it('gives up a rank that lives but does not vote when the others have', () => {
    harness = new DecideHarness({ voteTimeoutMs: 20_000 });
    harness.connect('a', 'b');
    harness.launch();
    harness.vote('a');
    harness.advance(21_000, 'a', 'b');
    expect(harness.lastCommand('dismiss')).toMatchObject({ workerId: 'b', code: 'deadline_exceeded' });
    expect(harness.members).toEqual(['a']);
    expect(harness.log.find(({ kind }) => kind === 'workerLost')).toMatchObject({
      rank: 1,
      reason: 'it did not vote for step 1 within 20 s of the others',
    });
  });
});
