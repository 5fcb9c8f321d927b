import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { freePort, type TemporaryDirectory, temporaryDirectory, waitFor } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { redisCheck } from './machine-checks.js';
import { pingRedis } from './ping-redis.js';

let server: ChildProcess;
let directory: TemporaryDirectory;
let port: number;

beforeAll(async () => {
  directory = await temporaryDirectory();
  port = await freePort();
  const args = [
    '--port',
    `${port}`,
    '--bind',
    '127.0.0.1',
    '--requirepass',
    'p@ss word',
    '--save',
    '',
    '--appendonly',
    'no',
  ];
  server = spawn('redis-server', [...args, '--dir', directory.path], { stdio: 'ignore' });
  await waitFor('the server', async () => (await redisCheck(url('p%40ss%20word'))).status === 'ok');
});
afterAll(async () => {
  server.kill();
  await once(server, 'exit');
  await directory.remove();
});

const url = (password: string) => `redis://:${password}@127.0.0.1:${port}/0`;

describe('a Redis server', () => {
  it('answers with the right password', async () => {
    await pingRedis(url('p%40ss%20word'));
    await pingRedis(`redis://default:p%40ss%20word@127.0.0.1:${port}`);
  });

  it('says what is wrong without it', async () => {
    await expect(pingRedis(`redis://127.0.0.1:${port}`)).rejects.toThrow(/NOAUTH/);
    await expect(pingRedis(url('wrong'))).rejects.toThrow(/WRONGPASS/);
  });

  it('that is not there, or a URL that is none, is told with a cure and without the password', async () => {
    const closed = await freePort();
    const check = await redisCheck(`redis://:secret@127.0.0.1:${closed}`);
    expect(check).toMatchObject({ status: 'missing', cure: expect.stringContaining('WEFT_REDIS_URL') });
    expect(check.finding).toMatch(/ECONNREFUSED/);
    expect(check.finding).not.toContain('secret');
    expect((await redisCheck('localhost')).finding).toMatch(/it must look like redis:\/\/host:6379/);
  });
});
