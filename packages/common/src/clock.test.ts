import { expect, it } from 'vitest';
import { systemClock } from './clock.js';

it('the system clock sleeps at least as long as asked', async () => {
  const before = systemClock.monotonicMs();
  await systemClock.sleep(20);
  expect(systemClock.monotonicMs() - before).toBeGreaterThanOrEqual(18);
  expect(Math.abs(systemClock.nowMs() - Date.now())).toBeLessThan(1000);
});

it('a sleep ends at once when its signal aborts, before or during', async () => {
  const controller = new AbortController();
  const asleep = systemClock.sleep(60_000, controller.signal);
  controller.abort();
  await expect(asleep).rejects.toMatchObject({ code: 'cancelled' });
  await expect(systemClock.sleep(60_000, controller.signal)).rejects.toMatchObject({ code: 'cancelled' });
});

it('a finished sleep is not disturbed by a later abort', async () => {
  const controller = new AbortController();
  await systemClock.sleep(1, controller.signal);
  expect(() => controller.abort()).not.toThrow();
});
