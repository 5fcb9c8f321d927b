import { expect, test } from 'vitest';
import { busyCoreSeconds, parseBusySeconds, parseCores } from './machine.js';

test('cores are numbers and ranges of them', () => {
  expect(parseCores('0-1')).toEqual([0, 1]);
  expect(parseCores('3')).toEqual([3]);
  expect(parseCores('0-2,8,10-11')).toEqual([0, 1, 2, 8, 10, 11]);
});

test('what is taken of the cores counts work, interrupts and what the host kept, not idling and guests', () => {
  const stat = 'cpu  100 20 300 4000 500 6 70 8 900 1000\ncpu0 1 1 1 1 1 1 1 1 1 1\nctxt 5\n';
  expect(parseBusySeconds(stat)).toBeCloseTo(5.04);
  expect(parseBusySeconds('intr 1\n')).toBeUndefined();
});

test.runIf(process.platform === 'linux')('the busy time of this machine can be read', () => {
  expect(busyCoreSeconds()).toBeGreaterThan(0);
});
