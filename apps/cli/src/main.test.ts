import { WEFT_VERSION } from '@weft/common';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { main } from './main.js';
import { recordedTerminal } from './testing/fixtures.js';

async function weft(...argv: string[]) {
  const terminal = recordedTerminal({ columns: 100 });
  const exitCode = await main(argv, terminal);
  return { exitCode, ...terminal.written };
}

describe('weft', () => {
  it('prints its version', async () => {
    expect(await weft('--version')).toEqual({ exitCode: 0, out: `${WEFT_VERSION}\n`, err: '' });
  });

  it.each([[], ['data'], ['lr']])(
    'without a command, it and its groups print their help: weft %s',
    async (...words) => {
      const { exitCode, out, err } = await weft(...words);
      expect({ exitCode, err }).toEqual({ exitCode: 0, err: '' });
      expect(out).toBe((await weft(...words, '--help')).out);
    },
  );

  it('lists every command in its help, the processes included', async () => {
    const { exitCode, out } = await weft('--help');
    expect(exitCode).toBe(0);
    for (const command of 'launch resume stop compile watch status ls queue history recipes data lr coordinator worker doctor'.split(
      ' ',
    ))
      expect(out).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
  });

  it('gives an option to the command it follows', async () => {
    await using home = await temporaryDirectory();
    const { exitCode, err } = await weft('queue', 'pause', '--home', home.path);
    expect({ exitCode, err }).toMatchObject({ exitCode: 1, err: expect.stringContaining(home.path) });
  });

  it.each([
    [['lunch'], "error: unknown command 'lunch': did you mean launch.\n"],
    [['ls', 'all'], "error: unexpected argument 'all': see weft ls --help.\n"],
    [['launch'], "error: missing required argument 'recipe|file': see weft launch --help.\n"],
    [['launch', 'debugTiny', '--dry-rum'], "error: unknown option '--dry-rum': did you mean --dry-run.\n"],
    [['launch', 'debugTiny', '--local', 'two'], 'error: --local must be a whole number of at least 1, not "two"\n'],
    [['data', 'fetch', 'mars'], 'error: <dataset> must be demo, not "mars"\n'],
    [['ls', '--coordinator', 'here'], 'error: --coordinator must be host:port, such as 127.0.0.1:7070, not "here"\n'],
    [
      ['launch', 'debugTiny', '--local', '2', '--workers', '3'],
      'error: the run asks for 3 workers, but --local starts 2: write --local 3, or leave out the other.\n',
    ],
    [
      ['launch', 'debugTiny', '--local', '2', '--coordinator', 'host:1'],
      'error: --local starts a coordinator of its own, so --coordinator cannot be given with it\n',
    ],
  ])('refuses a wrong command line with exit code 2: %j', async (argv, err) => {
    expect(await weft(...argv)).toEqual({ exitCode: 2, out: '', err });
  });

  it.each([
    [['launch', 'debugTinny'], /there is no recipe "debugTinny".*debugTiny/],
    [['launch', 'debugTiny', '--set', 'model.decoder.widht=3'], /did you mean model\.decoder\.width/],
    [['launch', 'nowhere.yaml'], /nowhere\.yaml/],
  ])('refuses what cannot be run with exit code 1: %j', async (argv, message) => {
    const { exitCode, out, err } = await weft(...argv);
    expect({ exitCode, out }).toEqual({ exitCode: 1, out: '' });
    expect(err).toMatch(/^error: /);
    expect(err).toMatch(message);
  });

  it('prints its errors as JSON for programs', async () => {
    const { exitCode, err } = await weft('status', 'x', '--json', '--home', '/nowhere');
    expect(exitCode).toBe(1);
    expect(JSON.parse(err)).toEqual({
      error: { code: 'not_found', message: 'there is no run "x"', hint: 'see weft ls' },
    });
  });

  it('says how to get a coordinator where none runs', async () => {
    await using home = await temporaryDirectory();
    const { exitCode, err } = await weft('launch', 'debugTiny', '--home', home.path);
    expect(exitCode).toBe(1);
    expect(err).toMatch(/^error: no coordinator is running for .*: add --local 2 to train on this machine, .*\n$/);
    const named = await weft('ls', '--coordinator', '127.0.0.1:1');
    expect(named.err).toMatch(/^error: no coordinator answers at 127\.0\.0\.1:1 \(/);
  });

  it('shows the stack of an error only when asked', async () => {
    expect((await weft('launch', 'debugTinny')).err).not.toContain('    at ');
    expect((await weft('launch', 'debugTinny', '--debug')).err).toContain('    at ');
  });

  it('lists the recipes', async () => {
    const { out } = await weft('recipes');
    expect(out).toMatch(/^debugTiny +languageModel +1\.24 M +4 × 128/m);
    expect(out).toMatch(/^mm1-3b-moe-64e +languageModel +64\.6 B \(4\.75 B\) /m);
    const { recipes } = JSON.parse((await weft('recipes', '--json')).out);
    expect(recipes[0]).toMatchObject({ recipe: 'debugTiny', steps: 60 });
  });
});
