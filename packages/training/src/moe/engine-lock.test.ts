import { afterEach, expect, it, vi } from 'vitest';
import { EngineLock, StallTimer } from './engine-lock.js';

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

afterEach(() => vi.useRealTimers());

it('counts only the time in which something is awaited and nothing is computed', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'performance'] });
  const timer = new StallTimer();
  const during = async (...work: Promise<void>[]) => {
    await vi.advanceTimersByTimeAsync(1000);
    await Promise.all(work);
  };
  await during(timer.computing(() => pause(30)));
  expect(timer.seconds).toBe(0);
  await during(
    timer.awaiting(pause(30)),
    timer.computing(() => pause(60)),
  );
  expect(timer.seconds).toBe(0);
  await during(
    timer.awaiting(pause(80)),
    timer.awaiting(pause(80)),
    timer.computing(() => pause(20)),
  );
  expect(timer.seconds).toBe(0.06);
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
