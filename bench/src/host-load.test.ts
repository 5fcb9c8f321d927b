import { expect, test } from 'vitest';
import { parseTakenSeconds, takenCoreSeconds } from './host-load.js';

test('what is taken of the cores counts work, interrupts and what the host kept, not idling and guests', () => {
  const stat = 'cpu  100 20 300 4000 500 6 70 8 900 1000\ncpu0 1 1 1 1 1 1 1 1 1 1\nctxt 5\n';
  expect(parseTakenSeconds(stat)).toBeCloseTo(5.04);
  expect(parseTakenSeconds('intr 1\n')).toBeUndefined();
});

test.runIf(process.platform === 'linux')('this machine tells', () => {
  expect(takenCoreSeconds()).toBeGreaterThan(0);
});
