import { noTime, totalSeconds } from '@weft/contracts';
import { expect, it } from 'vitest';
import { WorkClock } from './work-clock.js';

it('the time of a clock is always in exactly one bucket, however it is moved', () => {
  let nowMs = 0;
  const clock = new WorkClock('idle', () => nowMs);
  nowMs = 1000;
  clock.enter('compiling');
  nowMs = 3000;
  clock.enter('communicating');
  const before = clock.spent;
  nowMs = 7000;
  clock.move('communicating', 'waitingForStraggler', 3);
  expect(clock.spent).toEqual({ ...noTime(), idle: 1, compiling: 2, communicating: 1, waitingForStraggler: 3 });
  clock.move('computing', 'waitingForExperts', 1);
  clock.move('communicating', 'waitingForStraggler', Number.NaN);
  clock.enter('computing');
  nowMs = 8000;
  clock.moveSince(before, 'recovering');
  expect(clock.spent).toEqual({ ...noTime(), idle: 1, compiling: 2, recovering: 5 });
  expect(totalSeconds(clock.spent)).toBe(8);
  expect(clock.bucket).toBe('computing');
});
