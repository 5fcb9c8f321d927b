import { describe, expect, it } from 'vitest';
import { lastWords } from './last-words.js';

describe('the last words of a process', () => {
  it('are the error line of a command', () => {
    expect(lastWords('{"level":30,"msg":"hello"}\nerror: port 7070 is in use: choose another.\n')).toBe(
      'port 7070 is in use: choose another.',
    );
  });

  it('are the last error of a JSON log, with its cause', () => {
    const log = [
      { level: 50, msg: 'an early one' },
      { level: 60, msg: 'cannot open the index', err: { type: 'WeftError', message: 'shard 3 is torn' } },
      { level: 30, msg: 'bye' },
    ];
    expect(lastWords(log.map((line) => JSON.stringify(line)).join('\n'))).toBe(
      'cannot open the index: shard 3 is torn',
    );
    expect(lastWords('{"level":"error","msg":"as text"}')).toBe('as text');
  });

  it('are the message of an uncaught exception, not its stack', () => {
    const log =
      "file:///x.js:1\nthrow new TypeError('x');\n^\n\nTypeError: x is not a function\n    at y (z.js:1:1)\n\nNode.js v20\n";
    expect(lastWords(log)).toBe('x is not a function');
  });

  it('are missing where nothing was said', () => {
    expect(lastWords('')).toBeUndefined();
    expect(lastWords('{"level":30,"msg":"all is well"}\n{"torn')).toBeUndefined();
  });
});
