import { mkdir } from 'node:fs/promises';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { commandTree } from '../main.js';
import { recordedTerminal } from '../testing/fixtures.js';
import { candidates, runsOfHome } from './candidates.js';

const program = commandTree(recordedTerminal(), async () => {});
const names = { runs: async () => ['last', 'mm1-tiny-1', 'moe-tiny-2'], recipes: async () => ['debugTiny', 'mm1Tiny'] };
const after = (...words: string[]) => candidates(program, words, names);

describe('the last word of a command line', () => {
  it('goes on as a command, or as one of a group, but not as a hidden one', async () => {
    expect(await after('la')).toEqual(['launch']);
    expect(await after('comp')).toEqual(['compile', 'completion']);
    expect(await after('data', 'in')).toEqual(['index', 'inspect']);
  });

  it('goes on as an option of its command, which may stand behind others', async () => {
    expect(await after('resume', 'last', '--wor')).toEqual(['--workers']);
    expect(await after('launch', 'debugTiny', '--local', '2', '--det')).toEqual(['--detach']);
  });

  it('goes on as a run or a recipe where the command takes one', async () => {
    expect(await after('status', 'm')).toEqual(['mm1-tiny-1', 'moe-tiny-2']);
    expect(await after('diff', 'last', 'mo')).toEqual(['moe-tiny-2']);
    expect(await after('launch', 'd')).toEqual(['debugTiny']);
    expect(await after('resume', '--workers', '3', 'la')).toEqual(['last']);
    expect(await after('launch', 'mm1Tiny', '--after', 'moe')).toEqual(['moe-tiny-2']);
    expect(await after('data', 'fetch', '')).toEqual(['demo']);
  });

  it('is left to the shell where it names a file, a number, or what nobody can know', async () => {
    expect(await after('export', 'last', '--output', '')).toEqual([]);
    expect(await after('resume', 'last', '--workers', '')).toEqual([]);
    expect(await after('status', 'last', '')).toEqual([]);
    expect(await after('nothing-like-it', '')).not.toContain('last');
  });
});

it('the runs of a home are offered newest first, and none where it is missing', async () => {
  await using home = await temporaryDirectory();
  expect(await runsOfHome(home.path)).toEqual([]);
  for (const run of ['b-20260101-0100-aaaa', 'a-20260102-0100-aaaa', 'c-20260101-2300-aaaa'])
    await mkdir(`${home.path}/runs/${run}`, { recursive: true });
  expect(await runsOfHome(home.path)).toEqual(['a-20260102-0100-aaaa', 'c-20260101-2300-aaaa', 'b-20260101-0100-aaaa']);
});
