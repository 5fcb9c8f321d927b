import { expect, it } from 'vitest';
import { EngineLock, StallTimer } from './engine-lock.js';

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

it('counts only the time in which something is awaited and nothing is computed', async () => {
  const timer = new StallTimer();
  await timer.computing(() => pause(30));
  expect(timer.seconds).toBe(0);
  await Promise.all([timer.awaiting(pause(30)), timer.computing(() => pause(60))]);
  expect(timer.seconds).toBeLessThan(0.015);
  await Promise.all([timer.awaiting(pause(80)), timer.awaiting(pause(80)), timer.computing(() => pause(20))]);
  expect(timer.seconds).toBeGreaterThan(0.04);
  expect(timer.seconds).toBeLessThan(0.075);
});

it('one piece of work has the lock at a time, in order, also after one that failed', async () => {
  const lock = new EngineLock(new StallTimer());
  const order: string[] = [];
  const work = (name: string) => async () => {
    order.push(`${name} begins`);
    await pause(5);
    order.push(`${name} ends`);
    if (name === 'a') throw new Error('a failed');
  };
  const failed = expect(lock.run(work('a'))).rejects.toThrow('a failed');
  await lock.run(work('b'));
  await failed;
  expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});
