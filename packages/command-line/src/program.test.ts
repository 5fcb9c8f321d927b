import { describe, expect, it } from 'vitest';
import { hostAndPort, oneOf, port, text, wholeNumber } from './arguments.js';
import { createProgram, readOptions } from './program.js';

function example(columns?: number) {
  const written: string[] = [];
  const output = { write: (part: string) => written.push(part), ...(columns === undefined ? {} : { columns }) };
  const program = createProgram('weft example', output)
    .description('Does nothing.')
    .option('-n, --name <name>', 'what it is called, in as many words as it takes to fill more than a line', text)
    .option('--port <port>', 'where it listens', port, 7070)
    .option('--peer <host:port>', 'whom it calls', hostAndPort)
    .option('--size <n>', 'how large it is', wholeNumber(1, 8))
    .option('--limit [n]', 'how large it may become', wholeNumber(0))
    .option('--kind <a|b>', 'which one it is', oneOf('a', 'b'), 'a')
    .option('--no-colour', 'be plain');
  return { read: (...argv: string[]) => readOptions(program, argv), written };
}

describe('the options of a program', () => {
  it('are read by name, with their defaults', () => {
    expect(example().read()).toEqual({ port: 7070, kind: 'a', colour: true });
    const argv = '-n x --port=0 --peer [::1]:9 --size 8 --limit 3 --kind b --no-colour';
    expect(example().read(...argv.split(' '))).toEqual({
      name: 'x',
      port: 0,
      peer: '[::1]:9',
      size: 8,
      limit: 3,
      kind: 'b',
      colour: false,
    });
  });

  it.each([
    [['--port', '65536'], '--port must be a port from 0 to 65535, not "65536"', undefined],
    [['--port', "it's"], '--port must be a port from 0 to 65535, not "it\'s"', undefined],
    [['--port', ''], '--port must be a port from 0 to 65535, not ""', undefined],
    [['--peer', '::1:9'], '--peer must be host:port, such as 127.0.0.1:7070, not "::1:9"', undefined],
    [['--size', '9'], '--size must be a whole number from 1 to 8, not "9"', undefined],
    [['--limit', '-1'], '--limit must be a whole number of at least 0, not "-1"', undefined],
    [['--limit=1.5'], '--limit must be a whole number of at least 0, not "1.5"', undefined],
    [['--kind', 'c'], '--kind must be a or b, not "c"', undefined],
    [['-n', '--port'], '--name must be followed by a value, not "--port"', undefined],
    [['--name'], "option '-n, --name <name>' argument missing", 'see weft example --help'],
    [['--prot', '1'], "unknown option '--prot'", 'did you mean --port'],
    [['--colour'], "unknown option '--colour'", 'did you mean --no-colour'],
    [['--nothing-like-it'], "unknown option '--nothing-like-it'", 'see weft example --help'],
    [['--port', '1', 'extra'], "unexpected argument 'extra'", 'see weft example --help'],
  ])('are refused in one sentence with exit code 2: %j', (argv, message, hint) => {
    const { read, written } = example();
    expect(() => read(...argv)).toThrow(
      expect.objectContaining({ code: 'invalid_argument', exitCode: 2, message, hint }),
    );
    expect(written).toEqual([]);
  });

  it('are explained on request, within the width of the terminal', () => {
    for (const columns of [undefined, 0, 80]) {
      const { read, written } = example(columns);
      expect(read('--help')).toBeUndefined();
      const help = written.join('');
      expect(help).toMatch(/^Usage: weft example \[options\]\n\nDoes nothing\.\n/);
      expect(help).toContain('where it listens (default: 7070)');
      for (const line of help.split('\n')) expect(line.length).toBeLessThanOrEqual(columns || 100);
    }
  });
});
