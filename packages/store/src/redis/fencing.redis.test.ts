import { type RedisServer, redisServer, waitFor } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../open-store.js';
import { describeCrashes } from '../testing/crash-conformance.js';
import { all } from '../testing/store-fixture.js';
import { buildStore, StoreProcess } from '../testing/store-process.js';

let server: RedisServer;
beforeAll(async () => {
  buildStore();
  server = await redisServer();
});
afterAll(() => server.remove());

const options = (keyPrefix: string) => ({ home: '/nowhere', redisUrl: server.url, keyPrefix, leaseMs: 1500 });

/** Writes for ever, and says what becomes of it. */
const WRITER = `
  await log.append(0, ['first']);
  await queue.add({ id: 'first', kind: 'run', data: null });
  await queue.take('first');
  held.lost.then((error) => say('lost: ' + error.message));
  say('ready');
  for (let round = 1; ; round++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const calls = {
      append: () => log.append(log.lastSequence, ['round ' + round]),
      add: () => queue.add({ id: 'round-' + round, kind: 'run', data: null }),
      addFlow: () => queue.addFlow({ id: 'sweep-' + round, kind: 'sweep', data: null }, [{ id: 'child-' + round, kind: 'run', data: null }]),
      complete: () => round > 1 ? queue.complete('first', null) : queue.progress('first', round),
      pause: () => queue.pause(),
    };
    for (const [name, call] of Object.entries(calls)) {
      await call().then(() => say(name + ' ' + round), (error) => say(name + ' refused: ' + error.code + ': ' + error.message));
    }
  }`;

/** Keeps the lease until the test asks, then stops before it writes. */
const STOP_WHEN_ASKED = `
  await new Promise((asked) => process.once('SIGUSR2', asked));
  process.kill(process.pid, 'SIGSTOP');`;

describe('the lease in Redis', () => {
  it('that lapsed while its holder was stopped passes on, and nothing the holder sends when it wakes is written', async () => {
    const stopped = new StoreProcess(
      options('stopped'),
      WRITER.replace("say('ready');", `say('ready'); ${STOP_WHEN_ASKED}`),
    );
    await stopped.waitForLine(/ready/);
    const store = await openStore(options('stopped'));
    const told: string[] = [];
    const acquiring = store.lease.acquire('this test', { onWaiting: (holder) => told.push(holder) });
    await waitFor('the name of the holder', () => told.length > 0);
    stopped.signal('SIGUSR2');
    const held = await acquiring;
    expect(told).toEqual([`process ${stopped.processId}`]);
    const log = await store.openLog('tiny-1', held);
    const queue = await store.openQueue(held);
    await log.append(log.lastSequence, ['mine']);
    const before = await queue.list();
    expect(before).toMatchObject([{ id: 'first', state: 'active' }]);
    stopped.signal('SIGCONT');
    for (const call of ['append', 'add', 'addFlow', 'complete', 'pause'])
      expect(await stopped.waitForLine(new RegExp(`^${call} `))).toMatch(
        / refused: failed_precondition: the lease has passed/,
      );
    expect(await stopped.waitForLine(/^lost/)).toBe('lost: the lease has passed to this test');
    await stopped.kill();
    expect((await all(log.read())).map(({ record }) => record)).toEqual(['first', 'mine']);
    expect(await queue.list()).toEqual(before);
    await held.release();
    await store.close();
    const again = await openStore(options('stopped'));
    const reloaded = await again.openQueue(await again.lease.acquire('this test'));
    expect(await reloaded.list()).toEqual(before);
    expect(await reloaded.isPaused()).toBe(false);
    await again.close();
  });

  it('of a holder that was killed on this machine is taken at once', async () => {
    const killed = new StoreProcess(
      { ...options('killed'), leaseMs: 60_000 },
      "say('ready'); setInterval(() => {}, 1000);",
    );
    await killed.waitForLine(/ready/);
    await killed.kill();
    const store = await openStore(options('killed'));
    const held = await store.lease.acquire('this test', { waitMs: 0 });
    expect(held.token).toBe(2);
    await store.close();
  });

  it('of a living holder is kept by it, however often others ask', async () => {
    const store = await openStore(options('living'));
    const held = await store.lease.acquire('first');
    const other = await openStore(options('living'));
    await expect(other.lease.acquire('second', { waitMs: 2500 })).rejects.toMatchObject({
      message: `Redis at 127.0.0.1:${server.port} is in use by first`,
    });
    expect(await (await store.openLog('tiny-1', held)).append(0, ['a'])).toBe(1);
    await store.close();
    await other.close();
  });
});

describe('in Redis', () => {
  describeCrashes(() => options('crashes'));
});
