import { WeftError } from '@weft/common';
import { describe, expect, it } from 'vitest';
import { parseRedisUrl } from './redis-url.js';

const bare = {
  ...{ kind: 'single', tls: false, username: undefined, password: undefined, database: 0, masterName: undefined },
  parameters: {},
};

describe('a Redis URL', () => {
  it.each([
    ['redis://127.0.0.1', { nodes: [{ host: '127.0.0.1', port: 6379 }], displayName: '127.0.0.1:6379' }],
    ['redis://cache:7000/3', { nodes: [{ host: 'cache', port: 7000 }], database: 3, displayName: 'cache:7000' }],
    ['redis://[::1]:6380', { nodes: [{ host: '::1', port: 6380 }], displayName: '[::1]:6380' }],
    ['redis://:pass@cache', { nodes: [{ host: 'cache', port: 6379 }], password: 'pass', displayName: 'cache:6379' }],
    [
      'rediss://ada:p%40ss:w%2Ford@cache/?ca=/etc/ca.pem&servername=redis',
      {
        ...{ nodes: [{ host: 'cache', port: 6379 }], tls: true, username: 'ada', password: 'p@ss:w/ord' },
        ...{ parameters: { ca: '/etc/ca.pem', servername: 'redis' }, displayName: 'cache:6379' },
      },
    ],
    [
      'redis+sentinel://:pass@s1,s2:26380/mymaster/2?sentinelPassword=other',
      {
        ...{ kind: 'sentinel', masterName: 'mymaster', database: 2, password: 'pass' },
        nodes: [
          { host: 's1', port: 26_379 },
          { host: 's2', port: 26_380 },
        ],
        ...{ parameters: { sentinelPassword: 'other' }, displayName: 'mymaster of the sentinels s1:26379,s2:26380' },
      },
    ],
    [
      'rediss+cluster://n1,n2:6380',
      {
        ...{ kind: 'cluster', tls: true, displayName: 'n1:6379,n2:6380' },
        nodes: [
          { host: 'n1', port: 6379 },
          { host: 'n2', port: 6380 },
        ],
      },
    ],
  ])('%s is read', (url, expected) => {
    expect(parseRedisUrl(url)).toEqual({ ...bare, ...expected });
  });

  it.each([
    ['http://:geheim@cache', 'the URL of Redis is not one'],
    ['geheim@cache:6379', 'the URL of Redis is not one'],
    ['redis://:geheim@', 'the URL of Redis is not one'],
    ['redis://:geheim@cache:port', 'the URL of Redis names no host and port'],
    ['redis://:geheim@cache:0', 'the URL of Redis names no host and port'],
    ['redis://:geheim@a,b', 'the URL of Redis names several hosts'],
    ['redis://:geheim@cache/one', 'the URL of Redis ends with something that is not the number of a database'],
    ['redis+cluster://:geheim@a/1', 'the URL of Redis names a database, and a cluster has only one'],
    ['redis+sentinel://:geheim@a', 'the URL of Redis does not name the master'],
    ['redis://:geheim%@cache', 'the URL of Redis has a user or password that is not encoded for a URL'],
    ['redis://:geheim@cache?sevrername=geheim', 'the URL of Redis has an unknown parameter "sevrername"'],
    ['redis://:gehe/im@cache', 'the URL of Redis'],
  ])('%s is refused, and its secrets stay out of the sentence', (url, message) => {
    let error: unknown;
    try {
      parseRedisUrl(url);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: 'invalid_argument', message: expect.stringContaining(message) });
    expect(WeftError.from(error).sentence).not.toContain('gehe');
    expect(WeftError.from(error).hint).toBeDefined();
  });
});
