import { describe, expect, it } from 'vitest';
import { lastLogLine } from './local-process.js';

describe('the last words of a process', () => {
  it('are the error line of a command', () => {
    expect(lastLogLine('{"level":"info","message":"hello"}\nerror: port 7070 is in use: choose another.\n')).toBe(
      'port 7070 is in use: choose another.',
    );
  });

  it('are the last error of a JSON log, with its cause', () => {
    const log = [
      { level: 'error', message: 'an early one' },
      { level: 'error', message: 'cannot open the index', error: { code: 'corrupt_data', message: 'shard 3 is torn' } },
      { level: 'info', message: 'bye' },
    ];
    expect(lastLogLine(log.map((line) => JSON.stringify(line)).join('\n'))).toBe(
      'cannot open the index: shard 3 is torn',
    );
    const whole = { level: 'error', message: 'shard 3 is torn: index again.', error: { message: 'shard 3 is torn' } };
    expect(lastLogLine(JSON.stringify(whole))).toBe('shard 3 is torn: index again.');
  });

  it('are the message of an uncaught exception, not its stack', () => {
    const log =
      "file:///x.js:1\nthrow new TypeError('x');\n^\n\nTypeError: x is not a function\n    at y (z.js:1:1)\n\nNode.js v20\n";
    expect(lastLogLine(log)).toBe('x is not a function');
  });

  it('are what native code says before it aborts', () => {
    const log =
      'I0000 00:00:1795959751.5   27289 client.cc:74] fine\nF0000 00:00:1795959752.1   27289 stream.cc:9] Check failed: ok\n';
    expect(lastLogLine(log)).toBe('Check failed: ok');
  });

  it('are missing where nothing was said', () => {
    expect(lastLogLine('')).toBeUndefined();
    expect(lastLogLine('{"level":"info","message":"all is well"}\n{"torn')).toBeUndefined();
  });
});
