import { execFile } from 'node:child_process';
import { readdir, readFile, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { WeftError } from '@weft/common';
import {
  freePort,
  type RedisServer,
  type RedisServerOptions,
  redisServer,
  type TemporaryDirectory,
  temporaryDirectory,
  waitFor,
} from '@weft/testing';
import { Redis } from 'ioredis';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openStore } from '../open-store.js';
import type { Store } from '../store.js';
import { all } from '../testing/store-fixture.js';

const run = promisify(execFile);

const servers: RedisServer[] = [];
const stores: Store[] = [];
let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
  for (const server of servers.splice(0)) await server.remove();
  await directory.remove();
});

const started = (...words: string[]) => startedWith({ words });

async function startedWith(options: RedisServerOptions): Promise<RedisServer> {
  const server = await redisServer(options);
  servers.push(server);
  return server;
}

async function opened(redisUrl: string, connectTimeoutMs = 10_000): Promise<Store> {
  const store = await openStore({ home: '/nowhere', redisUrl, connectTimeoutMs, leaseMs: 2000 });
  stores.push(store);
  return store;
}

/** The refusal of a URL, after making sure that nothing about it tells the secret. */
async function refusal(redisUrl: string): Promise<WeftError> {
  const error = await opened(redisUrl, 300).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!WeftError.is(error)) throw new Error('it was not refused');
  for (let told: unknown = error; told instanceof Error; told = told.cause)
    expect(`${told.message} ${told.stack} ${JSON.stringify(told)} ${JSON.stringify({ ...told })}`).not.toContain(
      'geheim',
    );
  return error;
}

/** Logs and queues something, to see that all of it works there. */
async function works(store: Store): Promise<void> {
  const held = await store.lease.acquire('this test');
  const log = await store.openLog('tiny-1', held);
  const queue = await store.openQueue(held);
  await log.append(0, ['a', 'b']);
  await queue.addFlow({ id: 'sweep', kind: 'sweep', data: null }, [{ id: 'child', kind: 'run', data: null }]);
  await queue.take('child');
  await queue.complete('child', 1);
  expect((await all(store.log('tiny-1').read())).length).toBe(2);
  expect((await queue.list()).map(({ id, state }) => `${id} ${state}`)).toEqual(['sweep waiting', 'child completed']);
  await held.release();
}

describe('a Redis', () => {
  it('is named with version and place, and warned of when it has no append-only file', async () => {
    const server = await started();
    const store = await opened(server.url);
    expect(store.description).toMatch(/^Redis \d+\.\d+\.\d+ at 127\.0\.0\.1:\d+$/);
    expect(store.warnings).toEqual([]);
    const forgetful = await opened((await started('--appendonly', 'no')).url);
    expect(forgetful.warnings).toEqual([expect.stringContaining('append-only file')]);
  });

  it('that evicts keys is refused, with the hint', async () => {
    const server = await started('--maxmemory-policy', 'allkeys-lru');
    expect((await refusal(server.url)).sentence).toMatch(
      /maxmemory-policy is allkeys-lru: set `maxmemory-policy noeviction`/,
    );
  });

  it('started as deploy/compose.yaml does is fit, without a warning', async () => {
    const compose = await readFile(new URL('../../../../deploy/compose.yaml', import.meta.url), 'utf8');
    const [, words = ''] = /command: redis-server (.*)/.exec(compose) ?? [];
    const unfit = ['--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru'];
    const store = await opened((await started(...unfit, ...words.split(' '))).url);
    expect(store.warnings).toEqual([]);
  });

  it('that is not there is said within the time, with the hint', async () => {
    const error = await refusal(`redis://:geheim@127.0.0.1:${await freePort()}`);
    expect(error).toMatchObject({ code: 'unavailable', hint: expect.stringContaining('start it, or correct its URL') });
    expect(error.message).toContain('ECONNREFUSED');
  });

  it('that comes up late is waited for, and that is said', async () => {
    const server = await started();
    await server.kill();
    const told: string[] = [];
    const opening = openStore({
      ...{ home: '/nowhere', redisUrl: server.url, leaseMs: 2000 },
      onConnectRetry: ({ message }) => told.push(message),
    });
    await waitFor('a word of it', () => told.length > 0);
    await server.start();
    stores.push(await opening);
    await works(await opening);
    expect(told).toEqual([expect.stringContaining('cannot be reached: connect ECONNREFUSED')]);
  });

  it('without the database of the URL is refused, instead of going on in another', async () => {
    const server = await started();
    expect(await refusal(`${server.url}/99`)).toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining('has no database of this number'),
    });
    await works(await opened(`${server.url}/15`));
  });

  it('that is something else than its URL says is refused at once, with the URL that fits', async () => {
    const alone = await started();
    const node = await started('--cluster-enabled', 'yes');
    const sentinel = await startedWith({ sentinelOf: alone.port });
    const at = ({ port }: RedisServer) => `127.0.0.1:${port}`;
    const cases: [string, string, string][] = [
      [`redis://${at(node)}`, 'is a node of a cluster', 'redis+cluster://'],
      [`redis+cluster://${at(alone)}`, 'is no node of a cluster', 'redis://'],
      [`redis://${at(sentinel)}`, 'is a sentinel', 'redis+sentinel://'],
      [`redis+sentinel://${at(alone)}/mymaster`, 'asked one that is none', 'redis://'],
      [`redis+sentinel://${at(sentinel)}/other`, 'is not known to them', 'the name that the sentinels have'],
      // No slot of it is served.
      [`redis+cluster://${at(node)}`, 'not all of its slots are served', 'start it'],
    ];
    for (const [url, message, hint] of cases) {
      const error = await refusal(url);
      expect(error.message).toContain(message);
      expect(error.hint).toContain(hint);
    }
  });

  it('with a password accepts the right one, and refuses others without printing them', async () => {
    const server = await started('--requirepass', 'recht');
    await works(await opened(`redis://:recht@127.0.0.1:${server.port}`));
    for (const login of [':geheim@', 'ada:geheim@', '']) {
      expect(await refusal(`redis://${login}127.0.0.1:${server.port}`)).toMatchObject({
        code: 'failed_precondition',
        hint: 'correct user and password in its URL',
      });
    }
  });

  it('that has lost everything is distinguished from one that has not', async () => {
    const server = await started('--appendonly', 'no');
    const store = await opened(server.url);
    const held = await store.lease.acquire('this test');
    const log = await store.openLog('tiny-1', held);
    await log.append(0, ['a']);
    await server.kill();
    await server.start();
    await expect(log.append(1, ['b'])).rejects.toMatchObject({ code: 'corrupt_data' });
    expect(await held.lost).toMatchObject({
      code: 'corrupt_data',
      message: expect.stringContaining('has lost what was stored'),
    });
  });

  it('that came back with half of its log is distinguished from another coordinator', async () => {
    const server = await started();
    const store = await opened(server.url);
    const held = await store.lease.acquire('this test');
    const log = await store.openLog('tiny-1', held);
    await log.append(0, ['a']);
    const folder = join(server.directory, 'appendonlydir');
    const [name = ''] = (await readdir(folder)).filter((each) => each.endsWith('.incr.aof'));
    const half = (await stat(join(folder, name))).size;
    await log.append(1, ['b', 'c']);
    await server.kill();
    await truncate(join(folder, name), half);
    await server.start();
    await expect(log.append(3, ['d'])).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringContaining('has lost the records 2 to 3 of the event log tiny-1'),
    });

    // The lease too is older than the one it gave.
    await held.release();
    const next = await store.lease.acquire('this test');
    const again = await store.openLog('tiny-2', next);
    await server.kill();
    await truncate(join(folder, name), half);
    await server.start();
    await expect(again.append(0, ['a'])).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringContaining('has lost what was stored'),
    });
  });

  it('is spoken to with encryption, by rediss', async () => {
    const [key, cert] = ['key.pem', 'cert.pem'].map((name) => join(directory.path, name));
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'];
    await run('openssl', [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      ...subject,
      '-keyout',
      key ?? '',
      '-out',
      cert ?? '',
    ]);
    const port = await freePort();
    await started(
      '--tls-port',
      String(port),
      '--tls-cert-file',
      cert ?? '',
      '--tls-key-file',
      key ?? '',
      '--tls-auth-clients',
      'no',
    );
    await works(await opened(`rediss://127.0.0.1:${port}?ca=${cert}`));
    expect(await refusal(`rediss://:geheim@127.0.0.1:${port}`)).toMatchObject({ code: 'failed_precondition' });
    expect(await refusal(`rediss://127.0.0.1:${port}?ca=/nowhere.pem`)).toMatchObject({ code: 'invalid_argument' });
  });

  it('cluster is spoken to, with all keys in one slot', async () => {
    const server = await started('--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1');
    const admin = new Redis(server.port);
    await admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383');
    await waitFor('the cluster', async () => String(await admin.call('CLUSTER', 'INFO')).includes('cluster_state:ok'));
    admin.disconnect();
    const store = await opened(`redis+cluster://127.0.0.1:${server.port}`);
    await works(store);
    const log = await store.openLog('tiny-1', await store.lease.acquire('this test'));
    const follower = store.log('tiny-1').subscribe(3, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
    await server.kill();
    const append = log.append(2, ['c']);
    await waitFor('the loss to be noticed', () => !store.health.isAvailable);
    await server.start();
    expect(await append).toBe(3);
    expect((await follower.next()).value).toEqual({ sequence: 3, record: 'c' });
    await follower.return?.();
  });

  it('is found by sentinels, also after a failover', async () => {
    const first = await started('--repl-diskless-sync-delay', '0');
    const second = await started('--replicaof', '127.0.0.1', String(first.port));
    // A sentinel asks the master for its replicas when it starts, and then not for ten seconds.
    await waitFor('the replica', async () => /state=online/.test(await infoOf(first)), { timeoutMs: 20_000 });
    const sentinel = await startedWith({ sentinelOf: first.port });
    const store = await opened(`redis+sentinel://127.0.0.1:${sentinel.port}/mymaster`);
    expect(store.description).toMatch(/ at mymaster of the sentinels 127\.0\.0\.1:\d+$/);
    const held = await store.lease.acquire('this test');
    const log = await store.openLog('tiny-1', held);
    await log.append(0, ['a']);
    await waitFor('the replica to follow', async () => (await asked(first, 'WAIT', '1', '1000')) === 1, {
      timeoutMs: 20_000,
    });
    let leftFirst = false;
    store.watchHealth(({ isAvailable }) => {
      leftFirst ||= !isAvailable;
    });
    const admin = new Redis(sentinel.port);
    await waitFor(
      'the sentinel to know the replica',
      () => admin.call('SENTINEL', 'FAILOVER', 'mymaster').then(() => true),
      {
        ...{ timeoutMs: 30_000, intervalMs: 200 },
      },
    );
    admin.disconnect();
    await waitFor('the failover', async () => /role:master/.test(await infoOf(second)), { timeoutMs: 20_000 });
    // The old master goes on as one for some seconds more: who still wrote there would lose it.
    await waitFor('the store to leave the old master', () => leftFirst && store.health.isAvailable, {
      timeoutMs: 20_000,
    });
    expect(await log.append(1, ['b'])).toBe(2);
    expect((await all(log.read())).map(({ record }) => record)).toEqual(['a', 'b']);
    expect(await asked(second, 'XLEN', '{weft}:log:tiny-1')).toBe(2);
  });
});

async function infoOf(server: RedisServer): Promise<string> {
  return String(await asked(server, 'INFO', 'replication'));
}

async function asked(server: RedisServer, command: string, ...words: string[]): Promise<unknown> {
  const client = new Redis(server.port);
  try {
    return await client.call(command, ...words);
  } finally {
    client.disconnect();
  }
}
