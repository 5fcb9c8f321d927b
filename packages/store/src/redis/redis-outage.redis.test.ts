import { type CuttingProxy, cuttingProxy, type RedisServer, redisServer, waitFor } from '@weft/testing';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from '../open-store.js';
import type { Store, StoreHealth } from '../store.js';
import { all } from '../testing/store-fixture.js';

let server: RedisServer;
let proxy: CuttingProxy;
const stores: Store[] = [];
beforeEach(async () => {
  server = await redisServer();
  proxy = await cuttingProxy(server.port);
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  await proxy.close();
  await server.remove();
});

async function opened(port = proxy.port, rest: Partial<Parameters<typeof openStore>[0]> = {}): Promise<Store> {
  const store = await openStore({ home: '/nowhere', redisUrl: `redis://127.0.0.1:${port}`, leaseMs: 2000, ...rest });
  stores.push(store);
  return store;
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('when Redis goes away', () => {
  it('and is killed and restarted in the middle of writing, everything goes on and nothing is lost', async () => {
    const store = await opened(server.port);
    const changes: StoreHealth[] = [];
    store.watchHealth((health) => changes.push(health));
    const held = await store.lease.acquire('coordinator 1');
    const log = await store.openLog('tiny-1', held);
    const queue = await store.openQueue(held);
    let isOver = false;
    const writing = (async () => {
      let count = 0;
      while (!isOver) await log.append(count, [count++]);
      await log.append(count, ['the end']);
      return count;
    })();
    const following = (async () => {
      const followed: unknown[] = [];
      for await (const { record } of store.log('tiny-1').subscribe(1, AbortSignal.timeout(60_000))) {
        if (record === 'the end') break;
        followed.push(record);
      }
      return followed;
    })();
    const queueing = (async () => {
      let count = 0;
      for (; !isOver; count++) {
        await queue.add({ id: `job-${count}`, kind: 'run', data: null });
        await queue.take(`job-${count}`);
        if (count % 2 === 0) await queue.complete(`job-${count}`, count);
      }
      return count;
    })();
    for (let round = 0; round < 3; round++) {
      await pause(100);
      await server.kill();
      await pause(200);
      await server.start();
      await waitFor('the store to be back', () => store.health.isAvailable);
    }
    isOver = true;
    const [records, followed, added] = await Promise.all([writing, following, queueing]);
    expect(followed).toEqual(Array.from({ length: records }, (_, index) => index));
    expect((await all(log.read())).map(({ record }) => record)).toEqual([...followed, 'the end']);
    const jobs = await queue.list();
    await held.release();
    const other = await opened(server.port);
    const next = await other.lease.acquire('coordinator 2');
    expect(await (await other.openQueue(next)).list()).toEqual(jobs);
    expect(jobs.filter(({ state }) => state === 'completed').length).toBe(Math.ceil(added / 2));
    expect(jobs.filter(({ state }) => state === 'active').length).toBe(Math.floor(added / 2));
    expect(changes.filter(({ isAvailable }) => !isAvailable).length).toBeGreaterThanOrEqual(3);
    expect(store.health).toEqual({ isAvailable: true });
  });

  it('it says since when and why, keeps the lease of a holder that nobody replaced, and goes on by itself', async () => {
    const store = await opened(proxy.port, { leaseMs: 800 });
    const held = await store.lease.acquire('coordinator 1');
    const log = await store.openLog('tiny-1', held);
    const before = Date.now();
    proxy.sever();
    const append = log.append(0, ['a']);
    const away = await waitFor('the loss to be noticed', () => (store.health.isAvailable ? undefined : store.health));
    expect(away.sinceMs).toBeGreaterThanOrEqual(before);
    expect(away.error).toMatchObject({
      code: 'unavailable',
      message: expect.stringContaining(`Redis at 127.0.0.1:${proxy.port} cannot be reached`),
    });
    // Longer than the lease.
    await pause(1200);
    proxy.mend();
    expect(await append).toBe(1);
    expect(store.health).toEqual({ isAvailable: true });
    await pause(600);
    expect(await log.append(1, ['b'])).toBe(2);
    expect(await Promise.race([held.lost, pause(10)])).toBeUndefined();
  });

  it('for longer than a lease, no standby takes over from a holder that is well, only slower to come back', async () => {
    const store = await opened(proxy.port, { leaseMs: 2000 });
    const log = await store.openLog('tiny-1', await store.lease.acquire('coordinator 1'));
    const standby = await opened(server.port, { leaseMs: 2000 });
    const stop = new AbortController();
    const waiting = standby.lease.acquire('coordinator 2', { signal: stop.signal });
    const refused = expect(waiting).rejects.toMatchObject({ code: 'cancelled' });
    await pause(300);
    proxy.sever();
    await server.kill();
    await pause(2500);
    await server.start();
    await waitFor('the standby to be back', () => standby.health.isAvailable);
    await pause(200);
    proxy.mend();
    expect(await log.append(0, ['a'])).toBe(1);
    await pause(2500);
    expect(await log.append(1, ['b'])).toBe(2);
    stop.abort();
    await refused;
  });

  it('a server that is stopped and woken is waited for', async () => {
    const store = await opened(server.port);
    const held = await store.lease.acquire('coordinator 1');
    const log = await store.openLog('tiny-1', held);
    server.freeze();
    const appends = [log.append(0, ['a']), log.append(1, ['b'])];
    await pause(500);
    server.thaw();
    expect(await Promise.all(appends)).toEqual([1, 2]);
  });

  it('closing the store ends what waits for it', async () => {
    const store = await opened();
    const held = await store.lease.acquire('coordinator 1');
    const log = await store.openLog('tiny-1', held);
    proxy.sever();
    const append = log.append(0, ['a']);
    const refused = expect(append).rejects.toMatchObject({ code: 'cancelled' });
    await pause(50);
    await store.close();
    await refused;
  });
});

describe('when the network breaks', () => {
  it('at any moment, also between a command and its answer, nothing is lost, doubled or reordered', async () => {
    let round = 0;
    const fault = fc.constantFrom('none', 'none', 'cut', 'cutAnswer', 'cutAnswer', 'cutSoon');
    const append = fc.record({ do: fc.constant('append' as const), count: fc.integer({ min: 1, max: 3 }), fault });
    const restart = fc.record({ do: fc.constant('restart' as const), count: fc.constant(0), fault });
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof({ arbitrary: append, weight: 5 }, restart), { minLength: 1, maxLength: 12 }),
        async (steps) => {
          const keyPrefix = `appends-${++round}`;
          let store = await opened(proxy.port, { keyPrefix });
          let held = await store.lease.acquire('coordinator');
          let log = await store.openLog('tiny-1', held);
          const written: number[] = [];
          for (const step of steps) {
            inject(step.fault);
            if (step.do === 'append') {
              const records = Array.from({ length: step.count }, (_, index) => written.length + index);
              written.push(...records);
              expect(await log.append(log.lastSequence, records)).toBe(written.length);
            } else {
              await held.release();
              await store.close();
              store = await opened(proxy.port, { keyPrefix });
              held = await store.lease.acquire('coordinator');
              log = await store.openLog('tiny-1', held);
              expect(log.lastSequence).toBe(written.length);
            }
          }
          if (written.length > 0) expect((await all(log.read())).map(({ record }) => record)).toEqual(written);
          await store.close();
        },
      ),
      { numRuns: 30 },
    );
  });

  it('at any moment, the queue is after a restart as it was said to be, and no job that was done runs again', async () => {
    let round = 0;
    const fault = fc.constantFrom('none', 'cut', 'cutAnswer', 'cutAnswer', 'cutSoon');
    const call = fc.constantFrom(
      'take',
      'complete',
      'fail',
      'requeue',
      'cancel',
      'move',
      'pause',
      'resume',
      'progress',
    );
    const step = fc.record({ call, job: fc.nat({ max: 6 }), fault });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 15 }), async (steps) => {
        const keyPrefix = `queue-${++round}`;
        const store = await opened(proxy.port, { keyPrefix });
        const held = await store.lease.acquire('coordinator 1');
        const queue = await store.openQueue(held);
        const names = ['a', 'b', 'c', 'd', 'e', 'f', 'sweep'];
        inject('cutAnswer');
        for (const id of names.slice(0, 3))
          await queue.add({ id, kind: 'run', data: { id }, attempts: 3, backoffMs: 0 });
        inject('cutAnswer');
        await queue.addFlow(
          { id: 'sweep', kind: 'sweep', data: null },
          names.slice(3, 6).map((id) => ({ id, kind: 'run', data: { id }, attempts: 2, backoffMs: 0 })),
        );
        const done = new Set<string>();
        for (const { call: name, job, fault: what } of steps) {
          const id = names[job] ?? 'a';
          inject(what);
          try {
            if (name === 'take') expect(done.has((await queue.take(id)).id)).toBe(false);
            else if (name === 'complete') await queue.complete(id, { by: id });
            else if (name === 'fail') await queue.fail(id, 'diverged');
            else if (name === 'requeue') await queue.requeue(id);
            else if (name === 'cancel') await queue.cancel(id, 'enough');
            else if (name === 'move') await queue.move(id, { before: names[(job + 1) % names.length] ?? 'a' });
            else if (name === 'progress') await queue.progress(id, { step: job });
            else if (name === 'pause') await queue.pause(id);
            else await queue.resume(id);
            if (name === 'complete') done.add(id);
          } catch (error) {
            expect(error).toMatchObject({ code: 'failed_precondition' });
          }
        }
        const jobs = await queue.list();
        for (const id of done) expect(jobs.find((job) => job.id === id)?.state).toBe('completed');
        await held.release();
        await store.close();
        const other = await opened(server.port, { keyPrefix });
        const next = await other.lease.acquire('coordinator 2');
        expect(await (await other.openQueue(next)).list()).toEqual(jobs);
        await other.close();
      }),
      { numRuns: 30 },
    );
  });
});

function inject(fault: string): void {
  if (fault === 'cut') proxy.cut();
  else if (fault === 'cutAnswer') proxy.cutAnswer();
  else if (fault === 'cutSoon') setTimeout(() => proxy.cut(), 1);
}
