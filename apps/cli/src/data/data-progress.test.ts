import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import type { DataProgress } from '@weft/data';
import { shortPath } from '@weft/files';
import { FakeClock, temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { createContext } from '../context.js';
import { resolveRun, withAbsolutePaths } from '../resolve-run.js';
import { recordedTerminal, screenOf } from '../testing/fixtures.js';
import { checkData, withDataHints } from './check-data.js';
import { DataProgressDisplay } from './data-progress.js';

const progress = (phase: DataProgress['phase'], done: number): DataProgress => ({
  phase,
  what: `shard-${done}`,
  done,
  total: 10,
  unit: 'shards',
});

function display(isTTY: boolean, json = false) {
  const terminal = recordedTerminal({ isTTY, columns: 40 });
  const clock = new FakeClock();
  const context = { ...createContext({ home: '/', json }, terminal), coordinator: undefined };
  return { terminal, clock, display: new DataProgressDisplay(context, clock) };
}

describe('a long data task', () => {
  it('rewrites one line on a terminal and clears it at the end', async () => {
    const { terminal, clock, display: shown } = display(true);
    for (let done = 0; done < 10; done++) {
      shown.onProgress(progress('index', done));
      await clock.advance(200);
    }
    expect(screenOf(terminal.written.out.replaceAll('\r\x1b[K', '\n'), 40).at(-1)).toBe(
      'Indexing shard-9: 9 of 10 shards (90 %)',
    );
    shown.close();
    expect(terminal.written.out.endsWith('\r\x1b[K')).toBe(true);
  });

  it('tells how fast bytes are read and how long the rest takes', async () => {
    const { terminal, clock, display: shown } = display(false);
    for (let done = 0; done < 10; done++) {
      shown.onProgress({ ...progress('index', done), bytes: { done: done * 2 ** 20, total: 10 * 2 ** 20 } });
      await clock.advance(1000);
    }
    expect(terminal.written.out).toBe(
      'Indexing shard-2: 2 of 10 shards (20 %), 1 MiB/s, 8s left\nIndexing shard-7: 7 of 10 shards (70 %), 1 MiB/s, 3s left\n',
    );
  });

  it('writes a line now and then into a log, and none when it is short', async () => {
    const { terminal, clock, display: shown } = display(false);
    for (let done = 0; done < 10; done++) {
      shown.onProgress(progress('index', done));
      await clock.advance(1000);
    }
    expect(terminal.written.out).toBe(
      'Indexing shard-2: 2 of 10 shards (20 %)\nIndexing shard-7: 7 of 10 shards (70 %)\n',
    );
    const download = display(false);
    download.display.onProgress(progress('download', 1));
    expect(download.terminal.written.out).toMatch(/^Downloading shard-1/);
  });

  it('says nothing to programs', () => {
    const { terminal, display: shown } = display(true, true);
    shown.onProgress(progress('index', 1));
    shown.close();
    expect(terminal.written.out).toBe('');
  });
});

describe('missing data', () => {
  it('of the demo are to be fetched', async () => {
    await using home = await temporaryDirectory();
    const config = withAbsolutePaths(await resolveRun('debugTiny'), home.path);
    await expect(checkData({ config, recipe: 'debugTiny', settings: [], home: home.path })).rejects.toMatchObject({
      code: 'not_found',
      hint: 'run weft data fetch demo, then weft data index debugTiny',
    });
  });

  it('of own sources are to be put into their folders, not fetched', async () => {
    await using home = await temporaryDirectory();
    const set = ['data.sources.essays=text', 'data.weights.essays=1'];
    const config = withAbsolutePaths(await resolveRun('debugTiny', { set }), home.path);
    const folder = join(home.path, 'data', 'demo', 'essays');
    const run = { config, recipe: 'mine.yaml', settings: [], home: home.path };
    await expect(checkData(run)).rejects.toMatchObject({
      code: 'not_found',
      hint: `put shards into ${shortPath(folder)}, then run weft data index mine.yaml`,
    });
    await mkdir(folder, { recursive: true });
    await expect(checkData(run)).rejects.toMatchObject({ hint: 'run weft data index mine.yaml' });
  });

  it('are to be indexed by a command that can be copied, with the settings that matter', async () => {
    const settings = ['steps=5', 'data.directory=/data'];
    const config = await resolveRun('debugTiny', { set: settings });
    const failing = withDataHints({ config, recipe: 'debugTiny', settings, home: '/home' }, async () => {
      throw new WeftError('not_found', 'there is no data index', { hint: 'run weft data index <recipe>' });
    });
    await expect(failing).rejects.toMatchObject({
      hint: 'put shards into /data/captioned, /data/interleaved, /data/text, then run weft data index debugTiny --set data.directory=/data',
    });
  });
});
