import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { didYouMean, editDistance } from './did-you-mean.js';

const fields = ['learningRate', 'weightDecay', 'beta1', 'beta2', 'steps', 'workers'];

describe('didYouMean', () => {
  it.each([
    ['learnigRate', 'learningRate'],
    ['learning_rate', 'learningRate'],
    ['LearningRate', 'learningRate'],
    ['step', 'steps'],
    ['wokrers', 'workers'],
    ['beta3', 'beta1'],
  ])('takes %s for %s', (word, meant) => {
    expect(didYouMean(word, fields)).toBe(meant);
  });

  it('stays silent when nothing is near', () => {
    expect(didYouMean('temperature', fields)).toBeUndefined();
    expect(didYouMean('lr', fields)).toBeUndefined();
    expect(didYouMean('', fields)).toBeUndefined();
    expect(didYouMean('steps', [])).toBeUndefined();
  });
});

describe('editDistance', () => {
  it('counts a swap of neighbours once', () => {
    expect(editDistance('ab', 'ba')).toBe(1);
    expect(editDistance('kitten', 'sitting')).toBe(3);
    expect(editDistance('', 'abc')).toBe(3);
  });

  it('is symmetric, zero only for equal words, and at most the longer length', () => {
    const word = fc.string({ maxLength: 8, unit: fc.constantFrom('a', 'b', 'c') });
    fc.assert(
      fc.property(word, word, (left, right) => {
        const distance = editDistance(left, right);
        expect(distance).toBe(editDistance(right, left));
        expect(distance === 0).toBe(left === right);
        expect(distance).toBeLessThanOrEqual(Math.max(left.length, right.length));
      }),
    );
  });
});
