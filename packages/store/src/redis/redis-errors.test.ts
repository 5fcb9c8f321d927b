import { describe, expect, it } from 'vitest';
import { isTransient, redisError } from './redis-errors.js';

const reply = (message: string) => Object.assign(new Error(message), { name: 'ReplyError' });

describe('an error of Redis', () => {
  it.each([
    new Error('Connection is closed.'),
    new Error("Stream isn't writeable and enableOfflineQueue options is false"),
    new Error('connect ECONNREFUSED 127.0.0.1:6379'),
    new Error('read ECONNRESET'),
    new Error('getaddrinfo ENOTFOUND cache'),
    new Error('getaddrinfo ENOTFOUND cache-tls.example'),
    new Error('Client network socket disconnected before secure TLS connection was established'),
    new Error(
      'All sentinels are unreachable. Retrying from scratch after 17.3ms. Last error: connect ECONNREFUSED ::1:1',
    ),
    Object.assign(new Error('Reached the max retries per request limit (which is 0).'), {
      name: 'MaxRetriesPerRequestError',
    }),
    reply('LOADING Redis is loading the dataset in memory'),
    reply("READONLY You can't write against a read only replica."),
    reply('CLUSTERDOWN The cluster is down'),
  ])('%s means: try again later', (error) => {
    expect(isTransient(error)).toBe(true);
    expect(redisError(error, 'cache:6379')).toMatchObject({ code: 'unavailable' });
  });

  it.each([
    [reply('WRONGPASS invalid username-password pair'), 'failed_precondition', 'correct user and password in its URL'],
    [reply("OOM command not allowed when used memory > 'maxmemory'."), 'unavailable', 'raise its maxmemory'],
    [reply('NOPERM this user has no permissions'), 'failed_precondition', 'give the user the right'],
    [reply('ERR DB index is out of range'), 'failed_precondition', 'name a smaller one'],
    [reply('MOVED 3999 127.0.0.1:6381'), 'failed_precondition', 'write redis+cluster:// in front'],
    [reply('ERR This instance has cluster support disabled'), 'failed_precondition', 'write redis:// in front'],
    [new Error('Unknown RESP type 72 "H". Please report this.'), 'failed_precondition', 'correct its URL'],
    [new Error('self-signed certificate'), 'failed_precondition', '?ca='],
    [
      new Error('All sentinels are unreachable. Retrying from scratch after 9ms. Last error: NOAUTH HELLO must be …'),
      'failed_precondition',
      'correct user and password in its URL',
    ],
    [reply('ERR something connect else'), 'internal', undefined],
  ])('%s is told at once', (error, code, hint) => {
    expect(isTransient(error)).toBe(false);
    const told = redisError(error, 'cache:6379');
    expect(told).toMatchObject({ code, message: expect.stringContaining('cache:6379') });
    if (hint !== undefined) expect(told.hint).toContain(hint);
  });

  it('leaves the arguments of the command behind', () => {
    const error = Object.assign(reply('WRONGPASS no'), { command: { name: 'auth', args: ['ada', 'geheim'] } });
    const told = redisError(error, 'cache:6379');
    expect(JSON.stringify([told, told.cause, { ...told }, Object.entries(told.cause ?? {})])).not.toContain('geheim');
  });
});
