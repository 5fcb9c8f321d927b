import { describe, expect, it } from 'vitest';
import { checkServerInfo } from './check-server.js';

const info = (facts: Record<string, string>) =>
  Object.entries({
    redis_version: '7.0.15',
    role: 'master',
    maxmemory_policy: 'noeviction',
    aof_enabled: '1',
    ...facts,
  })
    .map(([name, value]) => `${name}:${value}`)
    .join('\r\n');

describe('a Redis server', () => {
  it.each([
    [{}, 'Redis 7.0.15'],
    [{ redis_version: '6.2.0' }, 'Redis 6.2.0'],
    [{ redis_version: '10.0.1' }, 'Redis 10.0.1'],
    [{ redis_version: '7.2.4', valkey_version: '8.0.1' }, 'Valkey 8.0.1'],
  ])('with %j is fit', (facts, name) => {
    expect(checkServerInfo(info(facts), 'cache:6379')).toEqual({ name, warnings: [] });
  });

  it.each([
    [{ redis_version: '6.0.16' }, 'Redis 6.0.16 at cache:6379 is too old, Weft needs 6.2.0', 'install Redis 6.2.0'],
    [{ maxmemory_policy: 'allkeys-lru' }, 'its maxmemory-policy is allkeys-lru', 'set `maxmemory-policy noeviction`'],
    [{ redis_mode: 'sentinel' }, 'is a sentinel', 'write redis+sentinel:// in front'],
    [{ redis_mode: 'cluster' }, 'is a node of a cluster', 'write redis+cluster:// in front'],
    [{ role: 'slave' }, 'is a replica and cannot be written', 'name the master'],
  ])('with %j is refused with a hint', (facts, message, hint) => {
    expect(() => checkServerInfo(info(facts), 'cache:6379')).toThrow(
      expect.objectContaining({
        code: 'failed_precondition',
        message: expect.stringContaining(message),
        hint: expect.stringContaining(hint),
      }),
    );
  });

  it('of a cluster is fit when the URL says that it is one', () => {
    expect(checkServerInfo(info({ redis_mode: 'cluster' }), 'cache:6379', 'cluster').name).toBe('Redis 7.0.15');
  });

  it('without an append-only file is taken with a warning', () => {
    expect(checkServerInfo(info({ aof_enabled: '0' }), 'cache:6379').warnings).toEqual([
      expect.stringContaining('keeps no append-only file'),
    ]);
  });
});
