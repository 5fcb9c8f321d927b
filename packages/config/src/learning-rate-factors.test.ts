import { describe, expect, it } from 'vitest';
import { fitsPattern, learningRateFactor } from './learning-rate-factors.js';

describe('a pattern', () => {
  it.each([
    ['vision', 'vision/patch/kernel', true],
    ['vision', 'visionary/patch', false],
    ['decoder/embedding', 'decoder/embedding', true],
    ['decoder/embed', 'decoder/embedding', false],
    ['decoder/layers/1*', 'decoder/layers/17/attention/query', true],
    ['decoder/layers/1*', 'decoder/layers/2/attention/query', false],
    ['*/positions', 'vision/positions', true],
    ['*/layers/*/attention', 'decoder/layers/3/attention/key', true],
    ['decoder.layers', 'decoder/layers/0/attention/key', false],
  ])('%s fits %s: %s', (pattern, name, fits) => {
    expect(fitsPattern(pattern, name)).toBe(fits);
  });
});

it('the longest pattern that fits counts, in whatever order they are written', () => {
  const factors = { vision: 0, 'vision/layers/2*': 0.1, connector: 2 };
  const reversed = Object.fromEntries(Object.entries(factors).toReversed());
  for (const given of [factors, reversed]) {
    expect(learningRateFactor(given, 'vision/patch/kernel')).toBe(0);
    expect(learningRateFactor(given, 'vision/layers/23/attention/key')).toBe(0.1);
    expect(learningRateFactor(given, 'connector/projection/bias')).toBe(2);
    expect(learningRateFactor(given, 'decoder/head')).toBe(1);
  }
});
