import { hostname } from 'node:os';
import { resolveRunConfig } from '@weft/config';
import type { StepHistory } from '@weft/coordination';
import { tinyRun } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { compare, judge } from './diagnose.js';

const USUAL = Array.from({ length: 40 }, (_, at) => 2 + 0.01 * (at % 5));

/** Step 41 of a run with losses of about 2. */
function history(loss: number, hostName: string): StepHistory {
  const entry = {
    step: 41,
    generation: 1,
    firstSequence: 0,
    endSequence: 4,
    ranges: {},
    digest: '',
    loss,
    applied: true,
  };
  const spike = loss > 3 ? { spike: { of: 'loss', value: loss, bound: 2.1 } as const } : {};
  return {
    step: { kind: 'committed', time: '', entry, gradNorm: 1, lossTokens: 9, worldSize: 1, ...spike },
    config: resolveRunConfig(tinyRun),
    before: [],
    checkpoints: [],
    recent: { losses: USUAL, gradNorms: USUAL.map(() => 1), spikingSince: null },
    workers: [{ workerId: 'w1', hostName, device: 'cpu' }],
    wasRolledBack: false,
  };
}

const step = (number: number, loss: number | null) => ({ step: number, loss, gradNorm: 1 });
const verdictOf = (then: number, here: number | null, hostName = 'west') =>
  judge(history(then, hostName), [compare(step(40, 2), step(40, 2)), compare(step(41, then), step(41, here))], 'k3f9');

describe('the diagnosis of a step', () => {
  it('is data where the spike comes back on another machine', () => {
    expect(verdictOf(25_201, 25_202).verdict).toBe('data');
    // What explodes does so in other digits.
    expect(verdictOf(25_201, 19_000).verdict).toBe('data');
    expect(verdictOf(25_201, null).verdict).toBe('data');
  });

  it('is hardware where it does not, with those who trained it', () => {
    const { verdict, sentence } = verdictOf(25_201, 2.03);
    expect(verdict).toBe('hardware');
    expect(sentence).toBe(
      'Hardware: step 41 is another here (loss 25201 and gradient norm 1 then, 2.03 and 1 here); it was trained by w1 on west',
    );
    expect(verdictOf(25_201, 2.03, hostname()).sentence).toContain('run it on another to be sure');
    expect(verdictOf(2, 2.03).verdict).toBe('hardware');
  });

  it('names the step since which the values differ', () => {
    const compared = [compare(step(40, 2), step(40, 2.5)), compare(step(41, 25_201), step(41, 2.03))];
    expect(judge(history(25_201, 'west'), compared, 'k3f9').sentence).toContain(', and differs since step 40;');
  });

  it('is neither where there was no spike and the values are the same', () => {
    expect(verdictOf(2, 2.0001).verdict).toBe('same');
  });
});
