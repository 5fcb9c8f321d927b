import { describe, expect, test } from 'vitest';
import { median, pairedSpeedup } from './statistics.js';

test('the median stands in the middle and leaves its input alone', () => {
  const values = [9, 1, 5];
  expect(median(values)).toBe(5);
  expect(values).toEqual([9, 1, 5]);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(() => median([])).toThrow(RangeError);
});

describe('the paired speed-up', () => {
  test('compares within rounds, so that a slow round changes nothing', () => {
    const ours = [[1, 1, 9], [10, 10, 10], [1]];
    const theirs = [[2, 2, 2], [20, 20, 90], [3]];
    expect(pairedSpeedup(ours, theirs)).toEqual({ median: 2, lowest: 2, highest: 3 });
  });
});
