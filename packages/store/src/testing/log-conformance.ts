import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { EventLog, LogReader } from '../event-log.js';
import type { AcquiredLease } from '../lease.js';
import type { Store } from '../store.js';
import { all, type StoreFixture } from './store-fixture.js';

/** What every event log does. */
export function describeEventLog(makePlace: () => Promise<StoreFixture>): void {
  let place: StoreFixture;
  let store: Store;
  let held: AcquiredLease;
  let log: EventLog;
  beforeEach(async () => {
    place = await makePlace();
    store = await place.open();
    held = await store.lease.acquire('this test');
    log = await store.openLog('tiny-1', held);
  });
  afterEach(() => place.remove());

  const values = [{ text: 'line\nfeed \u2028 ünïcode 🧵' }, [1, null], 'text', 0.1, false, null];

  describe('an event log', () => {
    it('begins empty and is named', async () => {
      expect(log.lastSequence).toBe(0);
      expect(await all(log.read())).toEqual([]);
      await log.append(0, ['a']);
      expect(await store.logNames()).toEqual(['tiny-1']);
    });

    it('keeps any JSON value, in order, numbered from 1, over a restart', async () => {
      expect(await log.append(0, values.slice(0, 2))).toBe(2);
      expect(await log.append(2, values.slice(2))).toBe(6);
      expect(await log.append(6, [])).toBe(6);
      await held.release();
      await store.close();
      const again = await place.open();
      const reopened = await again.openLog('tiny-1', await again.lease.acquire('this test'));
      expect(reopened.lastSequence).toBe(6);
      expect(reopened.repaired).toBeUndefined();
      const entries = values.map((record, index) => ({ sequence: index + 1, record }));
      expect(await all(reopened.read())).toEqual(entries);
      expect(await all(again.log('tiny-1').read(5))).toEqual(entries.slice(4));
      expect(await all(reopened.read(7))).toEqual([]);
    });

    it('is read on from a mark, and tells when the mark is of another log', async () => {
      await log.append(0, values.slice(0, 2));
      const taken: unknown[] = [];
      const take = (record: unknown) => void taken.push(record);
      const mark = await store.log('tiny-1').readOn(undefined, take);
      await log.append(2, values.slice(2));
      const after = await log.readOn(mark, take);
      expect(taken).toEqual(values);
      expect([mark?.sequence, after?.sequence]).toEqual([2, 6]);
      expect(await log.readOn(after, take)).toEqual(after);
      const other = await store.openLog('tiny-2', held);
      await other.append(0, ['b', 'c', 'd', 'e', 'f', 'g', 'h']);
      expect(await other.readOn(after, take)).toBeUndefined();
      expect(taken).toEqual(values);
      await expect(store.log('none').readOn(undefined, take)).rejects.toMatchObject({ code: 'not_found' });
      // What was read need not be scanned when the log is opened for writing.
      await log.close();
      await store.log('tiny-1').readOn(undefined, () => {});
      const reopened = await store.openLog('tiny-1', held);
      expect(reopened.lastSequence).toBe(6);
      await reopened.append(6, ['more']);
      expect((await all(reopened.read())).length).toBe(7);
    });

    it('holds thousands of records', async () => {
      const many = Array.from({ length: 2500 }, (_, index) => ({ index }));
      for (let at = 0; at < many.length; at += 500) await log.append(at, many.slice(at, at + 500));
      expect((await all(log.read())).map(({ record }) => record)).toEqual(many);
      expect((await all(log.read(2400))).length).toBe(101);
    });

    it('refuses a writer that does not know the last record, and writes nothing', async () => {
      await log.append(0, ['a', 'b']);
      for (const expected of [0, 1, 3]) {
        await expect(log.append(expected, ['c'])).rejects.toMatchObject({
          code: 'failed_precondition',
          message: expect.stringMatching(`event log .* stands at 2, but the writer expected ${expected}$`),
        });
      }
      expect((await all(log.read())).map(({ record }) => record)).toEqual(['a', 'b']);
    });

    it('writes appends made together in their order, each once', async () => {
      const appends = Array.from({ length: 200 }, (_, index) => log.append(index, [index]));
      await expect(log.append(7, ['late'])).rejects.toMatchObject({ code: 'failed_precondition' });
      expect(await Promise.all(appends)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1));
      expect((await all(log.read())).map(({ record }) => record)).toEqual(Array.from({ length: 200 }, (_, i) => i));
    });

    it('refuses what JSON cannot hold, and goes on', async () => {
      const circle: unknown[] = [];
      circle.push(circle);
      for (const record of [undefined, circle, 1n, () => {}])
        await expect(log.append(0, ['fine', record])).rejects.toMatchObject({ code: 'invalid_argument' });
      expect(await log.append(0, ['a'])).toBe(1);
    });

    it('takes no more once it is closed, and can be opened again', async () => {
      const append = log.append(0, ['a']);
      await log.close();
      await log.close();
      expect(await append).toBe(1);
      await expect(log.append(1, ['b'])).rejects.toMatchObject({ code: 'cancelled' });
      expect((await store.openLog('tiny-1', held)).lastSequence).toBe(1);
    });

    it('several are open at a time and do not mix', async () => {
      const other = await store.openLog('tiny-2', held);
      await Promise.all([log.append(0, ['a']), other.append(0, ['b', 'c'])]);
      expect((await all(log.read())).map(({ record }) => record)).toEqual(['a']);
      expect((await all(other.read())).map(({ record }) => record)).toEqual(['b', 'c']);
      expect([...(await store.logNames())].sort()).toEqual(['tiny-1', 'tiny-2']);
    });

    it('says when there is no log to read, and what cannot be a name', async () => {
      await expect(all(store.log('tiny-9').read())).rejects.toMatchObject({ code: 'not_found' });
      for (const name of ['', '../up', 'a b', '.hidden', 'a/b'])
        await expect(store.openLog(name, held)).rejects.toMatchObject({ code: 'invalid_argument' });
    });

    it('is followed from a sequence on, by its writer and by others, each record once', async () => {
      const other = await place.open();
      const follow = async (reader: LogReader) => {
        const seen: unknown[] = [];
        const enough = new AbortController();
        for await (const { sequence, record } of reader.subscribe(3, enough.signal)) {
          seen.push([sequence, record]);
          if (sequence === 40) enough.abort();
        }
        return seen;
      };
      const here = follow(log);
      const there = follow(other.log('tiny-1'));
      for (let at = 0; at < 40; at += 2) await log.append(at, [at + 1, at + 2]);
      const expected = Array.from({ length: 38 }, (_, index) => [index + 3, index + 3]);
      expect(await here).toEqual(expected);
      expect(await there).toEqual(expected);
    });

    it('a follower waits for a log that is not there yet', async () => {
      const [first] = await Promise.all([
        store.log('tiny-3').subscribe(1, AbortSignal.timeout(5000))[Symbol.asyncIterator]().next(),
        store.openLog('tiny-3', held).then((later) => later.append(0, ['at last'])),
      ]);
      expect(first.value).toEqual({ sequence: 1, record: 'at last' });
    });
  });
}
