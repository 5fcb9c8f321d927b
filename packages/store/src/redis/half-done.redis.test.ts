import { type CuttingProxy, cuttingProxy, type RedisServer, redisServer, temporaryDirectory } from '@weft/testing';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { JobQueue, NewJob } from '../job-queue.js';
import { openStore } from '../open-store.js';

let server: RedisServer;
let proxy: CuttingProxy;
beforeAll(async () => {
  server = await redisServer({ isLasting: true });
  proxy = await cuttingProxy(server.port);
});
afterAll(async () => {
  await proxy.close();
  await server.remove();
});

const run = (id: string): NewJob => ({ id, kind: 'run', data: { id }, attempts: 2, backoffMs: 3_600_000 });

/** A sweep of which one child runs and one is done, and two runs besides. */
async function prepare(queue: JobQueue): Promise<void> {
  await queue.add(run('x'));
  await queue.add(run('y'));
  await queue.addFlow({ id: 'sweep', kind: 'sweep', data: null }, ['a', 'b', 'c'].map(run));
  for (const id of ['a', 'b', 'y']) await queue.take(id);
  await queue.complete('a', 1);
}

const CALLS: Record<string, (queue: JobQueue) => Promise<unknown>> = {
  'adding a job': (queue) => queue.add(run('new')),
  'adding a flow': (queue) => queue.addFlow({ id: 'other', kind: 'sweep', data: 1 }, ['m', 'n'].map(run)),
  'taking a job': (queue) => queue.take('x'),
  'completing a job': (queue) => queue.complete('y', { loss: 1 }),
  'failing a job': (queue) => queue.fail('y', 'diverged'),
  'putting a job back': (queue) => queue.requeue('y'),
  'moving a sweep': (queue) => queue.move('sweep', { priority: 9 }),
  'pausing everything': (queue) => queue.pause(),
  'cancelling a sweep': (queue) => queue.cancel('sweep', 'enough'),
};

/** What does not depend on the time of day: order of what has not started, and every job. */
async function essence(queue: JobQueue): Promise<unknown> {
  const jobs = (await queue.list()).map(({ id, state, priority, failedAttempts, reason, result, startedAtMs }) => ({
    ...{ id, state, priority, failedAttempts, reason, result, started: startedAtMs !== null },
  }));
  const order = jobs.filter(({ state, started }) => state === 'waiting' && !started).map(({ id }) => id);
  return { paused: await queue.isPaused(), order, jobs: jobs.sort((left, right) => (left.id < right.id ? -1 : 1)) };
}

it.each(Object.entries(CALLS))(
  '%s, when its coordinator dies at any moment of it, is done whole or not at all',
  async (name, call) => {
    await using directory = await temporaryDirectory();
    const twin = await openStore({ home: directory.path });
    const model = await twin.openQueue(await twin.lease.acquire('the model'));
    await prepare(model);
    const before = await essence(model);
    await call(model);
    const after = await essence(model);
    await twin.close();

    let undone = 0;
    let wasDone = false;
    for (let requests = 1; !wasDone; requests++) {
      const keyPrefix = `${name.replaceAll(' ', '-')}-${requests}`;
      const dying = await openStore({ home: '/nowhere', redisUrl: `redis://127.0.0.1:${proxy.port}`, keyPrefix });
      const queue = await dying.openQueue(await dying.lease.acquire('first'));
      await prepare(queue);
      proxy.severAfter(requests);
      wasDone = await Promise.race([
        call(queue).then(() => true),
        new Promise<boolean>((resolve) => dying.watchHealth(({ isAvailable }) => isAvailable || resolve(false))),
      ]);
      proxy.sever();
      await dying.close();
      proxy.mend();
      await expire(keyPrefix);
      const heir = await openStore({ home: '/nowhere', redisUrl: server.url, keyPrefix });
      const found = await essence(await heir.openQueue(await heir.lease.acquire('second')));
      await heir.close();
      if (JSON.stringify(found) === JSON.stringify(before)) undone++;
      else expect(found).toEqual(after);
    }
    expect(undone).toBeLessThan(2);
  },
);

/** As if the lease of the dead one had lapsed: its process is this one, and lives. */
async function expire(keyPrefix: string): Promise<void> {
  const admin = new Redis(server.port);
  await admin.del(`{${keyPrefix}}:lease:holder`);
  admin.disconnect();
}
