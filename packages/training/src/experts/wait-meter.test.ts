import { expect, it } from 'vitest';
import { WaitMeter } from './wait-meter.js';

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

it('counts only the time in which something is awaited and nothing is computed', async () => {
  const meter = new WaitMeter();
  await meter.computing(() => pause(30));
  expect(meter.seconds).toBe(0);
  await Promise.all([meter.awaiting(pause(30)), meter.computing(() => pause(60))]);
  expect(meter.seconds).toBeLessThan(0.015);
  await Promise.all([meter.awaiting(pause(80)), meter.awaiting(pause(80)), meter.computing(() => pause(20))]);
  expect(meter.seconds).toBeGreaterThan(0.04);
  expect(meter.seconds).toBeLessThan(0.075);
});

it('lets one piece of work compute at a time, in order, also after one that failed', async () => {
  const meter = new WaitMeter();
  const order: string[] = [];
  const work = (name: string) => async () => {
    order.push(`${name} begins`);
    await pause(5);
    order.push(`${name} ends`);
    if (name === 'a') throw new Error('a failed');
  };
  const failed = expect(meter.computing(work('a'))).rejects.toThrow('a failed');
  await meter.computing(work('b'));
  await failed;
  expect(order).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
});
