import { describe, expect, it } from 'vitest';
import { deferred, retry, SerialQueue, settlesWithin, sleep, withTimeout } from './async.js';
import { WeftError } from './error.js';

const never = new Promise<never>(() => {});

describe('a serial queue', () => {
  it('starts work only when what came before has settled, even where that failed', async () => {
    const queue = new SerialQueue();
    const first = deferred<number>();
    const order: string[] = [];
    const failing = queue.run(async () => {
      await first.promise;
      order.push('first');
      throw new Error('broken');
    });
    const second = queue.run(() => order.push('second'));
    await sleep(1);
    expect(order).toEqual([]);
    first.resolve(1);
    await expect(failing).rejects.toThrow('broken');
    expect(await second).toBe(2);
    await queue.idle();
    expect(order).toEqual(['first', 'second']);
  });
});

describe('a wait with a limit', () => {
  it('gives what the work gives', async () => {
    expect(await withTimeout(Promise.resolve(7), { timeoutMs: 1000, doing: 'counting' })).toBe(7);
  });

  it('ends with deadline_exceeded, or with the error of its caller', async () => {
    const waiting = withTimeout(never, { timeoutMs: 1, doing: 'counting' });
    await expect(waiting).rejects.toMatchObject({
      code: 'deadline_exceeded',
      message: 'counting took longer than 1 ms',
    });
    const onTimeout = () => new WeftError('unavailable', 'nobody came');
    const own = withTimeout(never, { timeoutMs: 1, doing: 'counting', onTimeout });
    await expect(own).rejects.toMatchObject({ code: 'unavailable' });
  });

  it('ends with cancelled when the signal aborts, before or during the wait', async () => {
    const controller = new AbortController();
    const waiting = withTimeout(never, { timeoutMs: 60_000, signal: controller.signal, doing: 'counting' });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled', message: 'counting was cancelled' });
    const late = withTimeout(never, { timeoutMs: 60_000, signal: controller.signal, doing: 'counting' });
    await expect(late).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('can be asked without throwing', async () => {
    expect(await settlesWithin(Promise.reject(new Error('broken')), 1000)).toBe(true);
    expect(await settlesWithin(never, 1)).toBe(false);
  });
});

describe('a retry', () => {
  const failing = (times: number) => {
    let attempts = 0;
    return async () => {
      attempts++;
      if (attempts <= times) throw new WeftError('unavailable', `attempt ${attempts}`);
      return attempts;
    };
  };

  it('doubles its pauses up to the limit', async () => {
    const pauses: number[] = [];
    const options = { firstDelayMs: 10, maxDelayMs: 35, sleep: async (ms: number) => void pauses.push(ms) };
    expect(await retry(failing(4), options)).toBe(5);
    expect(pauses).toEqual([10, 20, 35, 35]);
  });

  it('gives up at an error that no attempt mends, and when the time is over', async () => {
    const isRetryable = (error: unknown) => !WeftError.is(error, 'unavailable');
    await expect(retry(failing(1), { firstDelayMs: 1, isRetryable })).rejects.toThrow('attempt 1');
    await expect(retry(failing(99), { firstDelayMs: 5, timeoutMs: 12 })).rejects.toThrow(/attempt [123]/);
  });

  it('ends with cancelled when the signal aborts in a pause', async () => {
    const controller = new AbortController();
    const waiting = retry(failing(99), { firstDelayMs: 60_000, signal: controller.signal });
    await sleep(1);
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
  });
});
