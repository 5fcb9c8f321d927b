import { describe, expect, test } from 'vitest';
import { pairedSpeedup } from './statistics.js';

describe('the paired speed-up', () => {
  test('compares within rounds, so that a slow round changes nothing', () => {
    const ours = [[1, 1, 9], [10, 10, 10], [1]];
    const theirs = [[2, 2, 2], [20, 20, 90], [3]];
    expect(pairedSpeedup(ours, theirs)).toEqual({ median: 2, lowest: 2, highest: 3 });
  });
});
