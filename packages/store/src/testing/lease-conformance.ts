import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Store } from '../store.js';
import type { StoreFixture } from './store-fixture.js';

/** What every lease does. */
export function describeLease(makePlace: () => Promise<StoreFixture>): void {
  let place: StoreFixture;
  let first: Store;
  let second: Store;
  beforeEach(async () => {
    place = await makePlace();
    first = await place.open();
    second = await place.open();
  });
  afterEach(() => place.remove());

  describe('a lease', () => {
    it('is held by one; the second is told by whom, and refused when it will not wait', async () => {
      await first.lease.acquire('coordinator 1');
      const told: string[] = [];
      const onWaiting = (holder: string) => told.push(holder);
      await expect(second.lease.acquire('coordinator 2', { waitMs: 250, onWaiting })).rejects.toMatchObject({
        code: 'failed_precondition',
        message: expect.stringContaining('in use by'),
      });
      expect(told).toEqual(['coordinator 1']);
    });

    it('passes to the one that waits when it is given back, and its token grows', async () => {
      const held = await first.lease.acquire('coordinator 1');
      const waiting = second.lease.acquire('coordinator 2', { waitMs: 10_000 });
      await held.release();
      await held.release();
      const next = await waiting;
      expect(next.token).toBeGreaterThan(held.token);
      await next.release();
      expect((await first.lease.acquire('coordinator 1')).token).toBeGreaterThan(next.token);
    });

    it('waiting ends when it is cancelled', async () => {
      await first.lease.acquire('coordinator 1');
      const cancel = new AbortController();
      const waiting = second.lease.acquire('coordinator 2', { signal: cancel.signal, waitMs: 60_000 });
      setTimeout(() => cancel.abort(), 50);
      await expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    });

    it('what was opened under it writes nothing once it was given back', async () => {
      const held = await first.lease.acquire('coordinator 1');
      const log = await first.openLog('tiny-1', held);
      const queue = await first.openQueue(held);
      await log.append(0, ['a']);
      await held.release();
      const next = await second.lease.acquire('coordinator 2');
      const refused = { code: 'failed_precondition', message: expect.stringContaining('lease') };
      await expect(log.append(1, ['b'])).rejects.toMatchObject(refused);
      await expect(queue.add({ id: 'tiny-1', kind: 'run', data: null })).rejects.toMatchObject(refused);
      await expect(first.openLog('tiny-2', held)).rejects.toMatchObject(refused);
      await expect(first.openQueue(held)).rejects.toMatchObject(refused);
      await first.close();
      expect((await second.openLog('tiny-1', next)).lastSequence).toBe(1);
      expect(await (await second.openQueue(next)).list()).toEqual([]);
    });
  });
}
