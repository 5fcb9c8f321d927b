import { Home } from '@weft/files';
import { describe, expect, it } from 'vitest';
import { parseOptions } from './options.js';

describe('the options of weft coordinator', () => {
  it('are loopback, port 7070, the home of the environment and automatic recovery by default', () => {
    expect(parseOptions([], { WEFT_HOME: '/srv/weft' })).toEqual({
      home: new Home('/srv/weft'),
      redisUrl: undefined,
      keyPrefix: undefined,
      standsBy: true,
      host: '127.0.0.1',
      port: 7070,
      metricsPort: 0,
      recover: 'auto',
      exitWithStdin: false,
      heartbeatTimeoutMs: 10_000,
      pricePerWorkerHour: undefined,
    });
  });

  it('can all be given', () => {
    const argv =
      '--home /x --host 0.0.0.0 --port 0 --metrics-port 9 --recover manual --exit-with-stdin --heartbeat-timeout 2.5 --redis redis://r --redis-prefix mine --no-standby --price-per-worker-hour 2.5';
    expect(parseOptions(argv.split(' '), { WEFT_REDIS_URL: 'redis://other' })).toEqual({
      home: new Home('/x'),
      redisUrl: 'redis://r',
      keyPrefix: 'mine',
      standsBy: false,
      host: '0.0.0.0',
      port: 0,
      metricsPort: 9,
      recover: 'manual',
      exitWithStdin: true,
      heartbeatTimeoutMs: 2500,
      pricePerWorkerHour: 2.5,
    });
  });

  it('find Redis in the environment', () => {
    expect(parseOptions([], { WEFT_REDIS_URL: 'redis://r', WEFT_REDIS_PREFIX: 'p' })).toMatchObject({
      redisUrl: 'redis://r',
      keyPrefix: 'p',
    });
    expect(parseOptions([], { WEFT_REDIS_URL: '' })?.redisUrl).toBeUndefined();
  });

  it('are refused with option, value and hint', () => {
    const refusal = (...argv: string[]) => {
      try {
        parseOptions(argv, {});
      } catch (error) {
        return error;
      }
      return undefined;
    };
    expect(refusal('--port', '70000')).toMatchObject({ message: '--port must be a port from 0 to 65535, not "70000"' });
    expect(refusal('--recover', 'maybe')).toMatchObject({ message: '--recover must be auto or manual, not "maybe"' });
    expect(refusal('--heartbeat-timeout', 'x')).toMatchObject({
      message: '--heartbeat-timeout must be a number of seconds from 1 to 3600, not "x"',
    });
    expect(refusal('--prt', '1')).toMatchObject({ message: "unknown option '--prt'", hint: 'did you mean --port' });
    expect(refusal('extra')).toMatchObject({
      message: "unexpected argument 'extra'",
      hint: 'see weft coordinator --help',
    });
    expect(refusal('--port')).toMatchObject({ message: "option '--port <port>' argument missing" });
    expect(refusal('--home', '--no-standby')).toMatchObject({
      message: '--home must be followed by a value, not "--no-standby"',
    });
  });

  it('are explained on request, every one of them', () => {
    const written: string[] = [];
    const output = { write: (text: string) => written.push(text) };
    expect(parseOptions(['--help'], {}, output)).toBeUndefined();
    const timing = ['recover', 'heartbeat-timeout', 'exit-with-stdin'];
    for (const name of ['home', 'redis', 'redis-prefix', 'no-standby', 'host', 'port', 'metrics-port', ...timing])
      expect(written.join('')).toContain(`--${name}`);
  });
});
