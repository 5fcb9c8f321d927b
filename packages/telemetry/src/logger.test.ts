import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { createLogger, type Logger, type LoggerOptions } from './logger.js';

function logged(write: (logger: Logger) => void, options: Partial<LoggerOptions> = {}): Record<string, unknown>[] {
  const lines: string[] = [];
  write(createLogger({ role: 'worker', ...options, stream: { write: (line) => lines.push(line) } }));
  return lines.map((line) => {
    expect(line.endsWith('\n')).toBe(true);
    return JSON.parse(line);
  });
}

describe('a log line', () => {
  it('says when, how bad, who and what', () => {
    const [line] = logged((logger) => logger.info({ step: 7 }, 'step done'), { runId: 'tiny-1', rank: 0 });
    expect(line).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      level: 'info',
      role: 'worker',
      runId: 'tiny-1',
      rank: 0,
      processId: process.pid,
      hostName: expect.any(String),
      version: '0.1.0',
      step: 7,
      message: 'step done',
    });
  });

  it('carries the fields of its child logger', () => {
    const [line] = logged((logger) => logger.child({ generation: 3 }).warn('ring broken'));
    expect(line).toMatchObject({ level: 'warn', generation: 3, message: 'ring broken' });
    expect(line).not.toHaveProperty('runId');
  });

  it('is left out below the level', () => {
    const write = (logger: Logger) => {
      logger.debug('a');
      logger.info('b');
      logger.error('c');
    };
    expect(logged(write).map(({ message }) => message)).toEqual(['b', 'c']);
    expect(logged(write, { level: 'debug' })).toHaveLength(3);
    expect(logged(write, { level: 'silent' })).toHaveLength(0);
  });

  it('writes an error with code, hint, causes and stack', () => {
    const cause = new Error('connection refused', { cause: new Error('no route') });
    const error = new WeftError('unavailable', 'no connection', { hint: 'check the address', cause });
    const [line] = logged((logger) => logger.error({ error }, 'the ring broke'));
    expect(line?.error).toEqual({
      code: 'unavailable',
      message: 'no connection',
      hint: 'check the address',
      causes: ['connection refused', 'no route'],
      stack: expect.stringContaining('logger.test.ts'),
    });
    const [plain] = logged((logger) => logger.error({ error: new TypeError('x is undefined') }));
    expect(plain?.error).toMatchObject({
      code: 'internal',
      message: 'x is undefined',
      stack: expect.stringMatching(/^TypeError: x is undefined/),
    });
    const [text] = logged((logger) => logger.error({ error: 'just text' }));
    expect(text?.error).toMatchObject({ code: 'internal', message: 'just text' });
  });

  it('holds no secrets', () => {
    const lines = logged((logger) => {
      logger.info({
        ringToken: 's3cret',
        lossTokens: 512,
        tls: { privateKey: 's3cret', nested: [{ password: 's3cret' }] },
      });
      logger.info({ redis: 'redis://weft:s3cret@cache:6379/0' }, 'connected to redis://:s3cret@cache:6379');
      logger.info('%s', 'rediss://weft:s3cret@cache');
      logger.child({ token: 's3cret' }).info('child');
      logger.error({ error: new Error('no connection to redis://weft:s3cret@cache') });
    });
    expect(JSON.stringify(lines)).not.toContain('s3cret');
    expect(
      logged((logger) => logger.info({ web: 'http://host:8080', mail: 'a@b', quote: '"token":"x"' })),
    ).toMatchObject([{ web: 'http://host:8080', mail: 'a@b', quote: '"token":"x"' }]);
    expect(lines[0]).toMatchObject({ lossTokens: 512, ringToken: '[redacted]' });
    expect(lines[1]).toMatchObject({ redis: 'redis://weft:[redacted]@cache:6379/0' });
  });
});

it('a log can go to a file, in a folder that is made', async () => {
  await using directory = await temporaryDirectory();
  const file = join(directory.path, 'logs', 'worker.log');
  createLogger({ role: 'worker', file }).info('first');
  createLogger({ role: 'worker', file }).info('second');
  const lines = (await readFile(file, 'utf8')).trim().split('\n');
  expect(lines.map((line) => JSON.parse(line).message)).toEqual(['first', 'second']);
});
