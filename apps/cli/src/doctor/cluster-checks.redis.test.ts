import { freePort, redisServer } from '@weft/testing';
import { expect, it } from 'vitest';
import { redisCheck } from './cluster-checks.js';

const check = (redisUrl: string | undefined) => redisCheck({ home: '/nowhere', redisUrl, keyPrefix: undefined });

it('the doctor reports a Redis that is fit for runs', async () => {
  await using server = await redisServer({ words: ['--requirepass', 'p@ss word'] });
  const at = `127.0.0.1:${server.port}`;
  expect(await check(`redis://:p%40ss%20word@${at}`)).toMatchObject({
    status: 'ok',
    finding: expect.stringMatching(new RegExp(`^(Redis|Valkey) [\\d.]+ at ${at}$`)),
  });
  const refused = await check(`redis://:wrong@${at}`);
  expect(refused.status).toBe('missing');
  expect(JSON.stringify(refused)).not.toContain('wrong@');
});

it('the doctor reports what is wrong with one that loses writes, and how to fix it', async () => {
  await using server = await redisServer({ words: ['--appendonly', 'no', '--maxmemory-policy', 'allkeys-lru'] });
  expect(await check(server.url)).toMatchObject({
    status: 'missing',
    finding: expect.stringContaining('maxmemory-policy is allkeys-lru'),
    hint: expect.stringContaining('noeviction'),
  });
});

it('the doctor distinguishes one that is not there from one that was not asked for', async () => {
  const closed = await check(`redis://:secret@127.0.0.1:${await freePort()}`);
  expect(closed).toMatchObject({ status: 'missing', hint: expect.any(String) });
  expect(JSON.stringify(closed)).not.toContain('secret');
  expect((await check('localhost')).status).toBe('missing');
  expect((await check(undefined)).status).toBe('note');
});
