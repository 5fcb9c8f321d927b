import { expect, test } from 'vitest';
import { parseCores } from './own-cores.js';

test('cores are numbers and ranges of them', () => {
  expect(parseCores('0-1')).toEqual([0, 1]);
  expect(parseCores('3')).toEqual([3]);
  expect(parseCores('0-2,8,10-11')).toEqual([0, 1, 2, 8, 10, 11]);
});
