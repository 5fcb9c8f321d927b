import type { DivergenceConfig } from '@weft/config';
import { Ledger } from '@weft/mixture';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  describeSpike,
  divergedSince,
  findSpike,
  findUnhealthy,
  NO_STEPS,
  type RecentSteps,
  remember,
} from './divergence.js';
import { applyRecord, ledgerRecords, replay } from './run-state.js';
import { DecideHarness, RUN } from './testing/decide-harness.js';

const THRESHOLD = { threshold: 10 };

/** Standard normal numbers, the same every time. */
function* noise(seed = 1): Generator<number> {
  let state = seed;
  const uniform = () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return (state + 1) / (2 ** 31 + 1);
  };
  for (;;) yield Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** The steps of a curve that were called spikes. */
function spikesOf(curve: Iterable<{ readonly loss: number; readonly gradNorm: number }>): number[] {
  const found: number[] = [];
  let recent: RecentSteps = NO_STEPS;
  let step = 0;
  for (const point of curve) {
    step++;
    const spike = findSpike(recent, point, THRESHOLD);
    if (spike !== undefined) found.push(step);
    recent = remember(recent, { step, ...point, applied: true }, spike);
  }
  return found;
}

describe('a spike', () => {
  it('is no noise, and no part of a curve that falls', () => {
    const random = noise();
    const next = () => random.next().value as number;
    const curve = Array.from({ length: 5000 }, (_, i) => ({
      loss: 2 + 3 * Math.exp(-i / 300) + 0.1 * next(),
      gradNorm: Math.exp(0.3 * next()) * (i < 100 ? 5 : 1),
    }));
    expect(spikesOf(curve)).toEqual([]);
  });

  it('is a loss or a gradient norm far over the usual, where enough steps came before', () => {
    const at = (loss: number, gradNorm: number) => ({ loss, gradNorm });
    const usual = Array.from({ length: 40 }, (_, i) => at(2 + 0.01 * (i % 5), 1 + 0.1 * (i % 3)));
    expect(spikesOf([...usual, at(25_201, 1)])).toEqual([41]);
    expect(spikesOf([...usual, at(2, 300)])).toEqual([41]);
    expect(spikesOf([...usual, at(2.02, 1.1)])).toEqual([]);
    expect(spikesOf([at(2, 1), at(3.9, 300)])).toEqual([]);
    expect(spikesOf([at(2, 1), at(25_201, 1), at(26_000, 1)])).toEqual([2, 3]);
  });

  it('is also a rise of the loss of one source, which the mean of all hides', () => {
    const random = noise(3);
    const next = () => random.next().value as number;
    // A fifth of the tokens are text, and few tokens are noisy.
    const at = (text: number) => ({ loss: 2 + 0.1 * next(), gradNorm: 1, sourceLoss: { captioned: 2, text } });
    const usual = Array.from({ length: 2000 }, () => at(2.5 * Math.exp(0.15 * next())));
    expect(spikesOf(usual)).toEqual([]);
    expect(spikesOf([...usual, at(9)])).toEqual([2001]);
    const recent = usual.reduce<RecentSteps>(
      (before, point, step) => remember(before, { step, ...point, applied: true }, undefined),
      NO_STEPS,
    );
    const spike = findSpike(recent, at(9), THRESHOLD);
    expect(spike).toMatchObject({ of: 'loss', source: 'text', value: 9 });
    expect(describeSpike(spike!, 2001)).toMatch(
      /^the loss on text of step 2001 is 9, and up to \d\.\d+ was to be expected$/,
    );
    // A source without text in a step, or with a few steps only, is not judged.
    expect(
      findSpike(recent, { loss: 2, gradNorm: 1, sourceLoss: { captioned: 2, art: 99 } }, THRESHOLD),
    ).toBeUndefined();
  });

  it('does not become usual by lasting, until it has lasted as long as the memory', () => {
    const at = (loss: number) => ({ loss, gradNorm: 1 });
    const usual = Array.from({ length: 100 }, (_, i) => at(2 + 0.01 * (i % 5)));
    const found = spikesOf([...usual, ...Array.from({ length: 300 }, () => at(4))]);
    expect(found[0]).toBe(101);
    expect(found).toHaveLength(100);
  });
});

describe('checkpoints', () => {
  const run = (changes: Partial<Parameters<typeof findUnhealthy>[0]>) => ({
    ...{ step: 50, skippedInARow: 0, recent: NO_STEPS },
    config: { divergence: { policy: 'warn', threshold: 10, patienceSteps: 20, rollbackSteps: 100 } as const },
    ...changes,
  });

  it('are healthy while steps are applied and no spike lasts', () => {
    expect(findUnhealthy(run({}))).toBeUndefined();
    expect(findUnhealthy(run({ recent: { ...NO_STEPS, spikingSince: 40 } }))).toBeUndefined();
  });

  it('are not from the first skipped step on, nor from the step before when several were skipped', () => {
    expect(findUnhealthy(run({ skippedInARow: 1 }))?.fromStep).toBe(50);
    expect(findUnhealthy(run({ skippedInARow: 4 }))?.fromStep).toBe(46);
  });

  it('are not from the step before a divergence on', () => {
    const diverged = run({ recent: { ...NO_STEPS, spikingSince: 31 } });
    expect(divergedSince(diverged)).toBe(31);
    expect(findUnhealthy(diverged)).toEqual({ fromStep: 30, reason: 'the run has diverged since step 31' });
  });
});

describe('a run that diverges', () => {
  let harness: DecideHarness;
  const begin = (policy: DivergenceConfig['policy'], changes: Partial<DivergenceConfig> = {}) => {
    harness = new DecideHarness({ returnMs: 0 });
    harness.connect('a', 'b');
    harness.launch({ steps: 5000, divergence: { policy, threshold: 10, patienceSteps: 5, ...changes } });
    harness.train(40);
  };
  const spike = (count: number) => {
    for (let i = 0; i < count; i++) for (const worker of ['a', 'b']) harness.vote(worker, { loss: 25_201 });
  };
  beforeEach(() => begin('warn'));

  it('trains on and says so with the policy warn, also after its last step and a restart', () => {
    spike(4);
    expect(harness.lastCommand('notify')).toMatchObject({
      sentence: 'the loss of step 41 is 25200, and up to 2.1 was to be expected',
    });
    expect(harness.view().reason).not.toContain('diverged');
    expect(harness.log.at(-1)).toMatchObject({ spike: { of: 'loss', value: 25_201 }, entry: { applied: true } });
    spike(1);
    expect(harness.view()).toMatchObject({ status: 'running', step: 45 });
    expect(harness.view().reason).toContain('it has diverged since step 41');
    expect(harness.lastCommand('notify')?.sentence).toMatch(
      /^the run has diverged since step 41: the loss of step 45 /,
    );
    harness.restart('auto');
    expect(harness.state.runs.get(RUN)?.state.recent.spikingSince).toBe(41);
  });

  it('does not apply a spike with the policy skip, and goes on with the next step', () => {
    begin('skip');
    spike(1);
    expect(harness.lastCommand('decideStep')).toMatchObject({ step: 41, apply: false });
    harness.train(1);
    expect(harness.lastCommand('decideStep')).toMatchObject({ step: 42, apply: true });
    expect(harness.view()).toMatchObject({ status: 'running', step: 42 });
  });

  it('fails with the policy stop once the spike has lasted, and names where it began', () => {
    begin('stop');
    spike(5);
    expect(harness.view()).toMatchObject({ status: 'failed', failure: { code: 'failed_precondition' } });
    expect(harness.view().reason).toBe(
      'the run has diverged since step 41: the loss of step 45 is 25200, and up to 2.1 was to be expected',
    );
  });

  describe('with the policy rollback', () => {
    const found = (step: number) => ({ checkpoint: { step, directory: `/step-${step}` }, skipped: [] });
    const goBack = (step: number) =>
      harness.handle({
        kind: 'checkpointFound',
        runId: RUN,
        found: step === 0 ? { checkpoint: undefined, skipped: [] } : found(step),
      });
    const sequencesOf = (step: number) => {
      const entry = Ledger.fold(ledgerRecords(harness.log)).entryOf(step);
      return [entry?.firstSequence, entry?.endSequence];
    };

    it('goes back before a spike that lasts, on all ranks, and trains on without its data', () => {
      begin('rollback', { rollbackSteps: 10 });
      harness.checkpoint(20);
      harness.checkpoint(38);
      spike(4);
      expect(harness.view()).toMatchObject({ status: 'running', step: 44 });
      harness.clearCommands();
      spike(1);
      const { globalBatchSize } = harness.state.runs.get(RUN)!.state.config;
      expect(harness.view()).toMatchObject({ status: 'queued', step: 20, checkpointStep: 20 });
      expect(harness.view().reason).toContain(
        `it has diverged since step 41: the loss of step 45 is 25200, and up to 2.1 was to be expected; it goes back to the checkpoint of step 20, and the sequences ${40 * globalBatchSize} to ${45 * globalBatchSize - 1} of these steps are skipped`,
      );
      expect(harness.lastCommand('decideStep')).toBeUndefined();
      expect(harness.lastCommand('release')).toMatchObject({ workerIds: ['a', 'b'], discardState: true });
      expect(harness.lastCommand('findCheckpoint')).toMatchObject({ notAfterStep: 20 });
      goBack(20);
      expect(harness.lastCommand('assign')).toMatchObject({
        firstStep: 21,
        config: { data: { skippedBatches: [{ first: 41, end: 46 }] } },
      });
      harness.train(30);
      expect(sequencesOf(40)).toEqual([39 * globalBatchSize, 40 * globalBatchSize]);
      expect(sequencesOf(41)).toEqual([45 * globalBatchSize, 46 * globalBatchSize]);
      harness.restart('auto');
      expect(harness.state.runs.get(RUN)?.state.config.data.skippedBatches).toEqual([{ first: 41, end: 46 }]);
    });

    it('goes back to the oldest checkpoint before it where none is old enough, and to the beginning where there is none', () => {
      begin('rollback');
      harness.checkpoint(36);
      spike(5);
      expect(harness.lastCommand('findCheckpoint')).toMatchObject({ notAfterStep: 36 });
      begin('rollback');
      spike(5);
      expect(harness.lastCommand('findCheckpoint')).toMatchObject({ notAfterStep: 0 });
      goBack(0);
      expect(harness.lastCommand('assign')).toMatchObject({ firstStep: 1, startFrom: { kind: 'fresh' } });
    });

    it('goes back from steps without finite gradients too', () => {
      begin('rollback');
      harness.checkpoint(36);
      for (let i = 0; i < 10; i++)
        for (const worker of ['a', 'b']) harness.vote(worker, { gradNorm: Number.NaN, finite: false });
      expect(harness.view()).toMatchObject({ status: 'queued', step: 36 });
      expect(harness.view().reason).toContain(
        'it has diverged since step 41: the gradients were not finite up to step 50',
      );
      goBack(36);
      expect(harness.lastCommand('assign')?.config.data.skippedBatches).toEqual([{ first: 41, end: 51 }]);
    });

    it('fails in the end when it diverges again and again at the same place', () => {
      begin('rollback');
      harness.checkpoint(36);
      for (let time = 1; time <= 4; time++) {
        harness.train(40 - harness.view().step);
        spike(5);
        if (time < 4) goBack(36);
      }
      expect(harness.view().status).toBe('failed');
      expect(harness.view().reason).toContain('the run has diverged since step 41, after it went back 3 times');
      expect(Ledger.fold(ledgerRecords(harness.log)).skipped).toHaveLength(3);
    });

    it('may go back again once it is well past the spike', () => {
      begin('rollback');
      harness.checkpoint(36);
      spike(5);
      goBack(36);
      harness.train(1);
      const { log } = harness;
      const last = log.at(-1);
      if (last?.kind !== 'committed') throw new Error('the last record is no step');
      let state = replay(log);
      expect(state.rolledBack).toEqual({ times: 1, step: 45 });
      const train = () => {
        state = applyRecord(state, { ...last, entry: { ...last.entry, step: state.step + 1 } });
      };
      while (state.step < 145) train();
      expect(state.rolledBack).toEqual({ times: 1, step: 45 });
      train();
      expect(state.rolledBack).toBeUndefined();
    });
  });

  it('saves checkpoints that say so, and looks for an older one when it has to go on', () => {
    spike(6);
    harness.savePart('a', 46);
    harness.savePart('b', 46);
    expect(harness.lastCommand('writeManifest')).toMatchObject({ unhealthy: 'the run has diverged since step 41' });
    harness.disconnect('a', 'b');
    expect(harness.lastCommand('findCheckpoint')).toMatchObject({ notAfterStep: 46, unhealthy: { fromStep: 40 } });
    const skipped = [{ directory: '/step-46', reason: 'the run has diverged since step 41', isUnhealthy: true }];
    const checkpoint = { step: 38, directory: '/step-38' };
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: { checkpoint, skipped } });
    expect(harness.view()).toMatchObject({ status: 'queued', step: 38 });
    expect(harness.lastCommand('setAsideCheckpoints')).toMatchObject({ afterStep: 38 });
  });

  it('does not go on from an unhealthy checkpoint unless a person says so', () => {
    spike(6);
    harness.checkpoint(46);
    harness.disconnect('a', 'b');
    const skipped = [{ directory: '/step-46', reason: 'the run has diverged since step 41', isUnhealthy: true }];
    harness.handle({ kind: 'checkpointFound', runId: RUN, found: { checkpoint: undefined, skipped } });
    expect(harness.view().status).toBe('failed');
    expect(harness.view().failure?.hint).toContain('--from-step N');
    harness.resume({ checkpoint: { step: 46, directory: '/step-46' }, skipped: [] }, { fromStep: 46 });
    expect(harness.view()).toMatchObject({ status: 'queued', step: 46 });
  });
});
