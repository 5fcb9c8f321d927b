import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { indexDataset } from './index-dataset.js';
import { openShardProcess } from './shard-process.js';
import { ShardQueue } from './shard-queue.js';

const DIST = new URL('../../dist/', import.meta.url);
const processModule = new URL('index/shard-process-main.js', DIST);
const SHARDS = 30;

/** A tiny dataset in `data`, with more shards of text, of which one line is bad. */
async function writeDataset(folder: string): Promise<void> {
  const directory = join(folder, 'data');
  await writeTinyDataset(directory);
  for (let i = 0; i < SHARDS; i++) {
    const lines = Array.from({ length: 1 + (i % 5) }, (_, line) =>
      JSON.stringify({ text: `${i} and ${line} `.repeat(i) }),
    );
    await writeFile(join(directory, 'text', `s-${i}.jsonl`), lines.join('\n'));
  }
  await writeFile(join(directory, 'text', 's-7.jsonl'), '{"text":"good"}\nnot JSON\n{"text":""}\n');
}

/** Its configuration; the index lies beside it. */
const configOf = (folder: string, index: string) => {
  const { data, model } = tinyConfig(join(folder, 'data'));
  return { model, data: { ...data, index: join(folder, index) } };
};

/** Bad lines are left out. */
const skipping = (folder: string, index: string) => {
  const { data, model } = configOf(folder, index);
  const text = { badSamples: 'skip' } as unknown as (typeof data.datasets)[string];
  return { model, data: { ...data, datasets: { text } } };
};

/** The hashes of all files of an index, by name. */
async function contentOf(folder: string): Promise<Record<string, string>> {
  const names = (await readdir(folder)).sort();
  return Object.fromEntries(
    await Promise.all(
      names.map(async (name) => [
        name,
        createHash('sha256')
          .update(await readFile(join(folder, name)))
          .digest('hex'),
      ]),
    ),
  );
}

/** Collects the shards that are read. */
function readShards() {
  const read: string[] = [];
  const onProgress = ({ phase, what }: { phase: string; what: string }) => {
    if (phase === 'index' && what.includes('/')) read.push(what);
  };
  return { read, onProgress };
}

describe('an index', () => {
  it('has the same bytes on any number of processes', async () => {
    await using folder = await temporaryDirectory();
    await writeDataset(folder.path);
    const contents: Record<string, string>[] = [];
    for (const processes of [0, 1, 2, 5]) {
      const { directory } = await indexDataset({
        ...skipping(folder.path, `index-${processes}`),
        reading: { processes, processModule },
      });
      contents.push(await contentOf(directory));
      expect(await readdir(dirname(directory))).toHaveLength(1);
    }
    for (const content of contents) expect(content).toEqual(contents[0]);
  });

  it('is gone on with after kill -9, and the shards that were read are not read again', async () => {
    await using folder = await temporaryDirectory();
    await writeDataset(folder.path);
    const config = skipping(folder.path, 'index');
    const script = `
      const { indexDataset } = await import(${JSON.stringify(new URL('index.js', DIST).href)});
      let read = 0;
      const onProgress = ({ what }) => { if (what.includes('/') && ++read === 10) process.kill(process.pid, 'SIGKILL'); };
      await indexDataset({ ...${JSON.stringify(config)}, onProgress, reading: { processes: 2 } });`;
    const killed = spawn(process.execPath, ['--input-type=module', '-e', script], { stdio: 'ignore' });
    expect(await once(killed, 'exit')).toEqual([null, 'SIGKILL']);
    const { read, onProgress } = readShards();
    const { directory } = await indexDataset({ ...config, onProgress, reading: { processes: 2, processModule } });
    expect(read.length).toBeLessThanOrEqual(SHARDS + 5 - 10);
    const { directory: whole } = await indexDataset(skipping(folder.path, 'whole'));
    expect(await contentOf(directory)).toEqual(await contentOf(whole));
  });

  it('is gone on with after a shard was refused: that one, and one that changed, are read again', async () => {
    await using folder = await temporaryDirectory();
    await writeDataset(folder.path);
    const config = configOf(folder.path, 'index');
    const reading = { processes: 1, processModule };
    await expect(indexDataset({ ...config, reading })).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringMatching(/^line 2 of .*s-7\.jsonl is not JSON/),
      hint: expect.stringContaining('badSamples=skip'),
    });
    await writeFile(join(folder.path, 'data', 'text', 's-7.jsonl'), '{"text":"mended"}\n');
    await writeFile(join(folder.path, 'data', 'text', 's-0.jsonl'), '{"text":"another"}\n');
    await rm(join(folder.path, 'data', 'text', 's-1.jsonl'));
    const { read, onProgress } = readShards();
    const { directory } = await indexDataset({ ...config, onProgress, reading });
    expect(read).toContain('text/s-7.jsonl');
    expect(read).toContain('text/s-0.jsonl');
    expect(read).not.toContain('captioned/c-0.tar');
    const { directory: whole } = await indexDataset(configOf(folder.path, 'whole'));
    expect(await contentOf(directory)).toEqual(await contentOf(whole));
  });

  it('is made by one process at a time', async () => {
    await using folder = await temporaryDirectory();
    await writeDataset(folder.path);
    const config = skipping(folder.path, 'index');
    const second: Promise<unknown>[] = [];
    const reading = { processes: 1, processModule };
    const onProgress = ({ what }: { what: string }) => {
      if (what.includes('/') && second.length === 0)
        second.push(indexDataset({ ...config, reading }).catch((thrown: unknown) => thrown));
    };
    await indexDataset({ ...config, onProgress, reading });
    expect(await second[0]).toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining('the index'),
    });
  });
});

describe('a process that reads shards', () => {
  it('ends where it cannot begin', async () => {
    await using folder = await temporaryDirectory();
    await writeDataset(folder.path);
    const { data, model } = configOf(folder.path, 'index');
    const run = { config: { data, model }, shards: {} };
    const telling = join(folder.path, 'telling.mjs');
    const id = join(folder.path, 'id');
    await writeFile(
      telling,
      `import { writeFileSync } from 'node:fs';
      writeFileSync(${JSON.stringify(id)}, String(process.pid));
      await import(${JSON.stringify(processModule.href)});`,
    );
    const opening = openShardProcess(pathToFileURL(telling), run, join(folder.path, 'none'), 0);
    await expect(opening).rejects.toMatchObject({ code: 'not_found' });
    const processId = Number(await readFile(id, 'utf8'));
    expect(() => process.kill(processId, 0)).toThrow('ESRCH');
  });

  it('is replaced when it is killed; one shard that kills every process is named', async () => {
    await using folder = await temporaryDirectory();
    await writeDataset(folder.path);
    const { data, model } = configOf(folder.path, 'index');
    const names = Array.from({ length: 6 }, (_, i) => `s-${i}.jsonl`);
    const shards = { text: names.map((name) => ({ name, bytes: 100, version: null })) };
    const run = { config: { data, model }, shards };
    let started = 0;
    const queue = new ShardQueue({
      tasks: names.map((_, number) => ({ source: 'text', number, bytes: 100 })),
      ...{ readers: 1, firstFile: 0, onFinished: () => undefined },
      describe: ({ number }) => names[number] ?? '',
      openReader: async (file) => {
        const reader = await openShardProcess(processModule, run, folder.path, file);
        started++;
        return {
          ...reader,
          read: async (unit) => {
            // The third shard ends whatever reads it.
            if (unit.some(({ number }) => number === 2)) process.kill(reader.processId ?? 0, 'SIGKILL');
            return await reader.read(unit);
          },
        };
      },
    });
    for (const number of [0, 1, 3, 4, 5]) expect((await queue.take(number)).name).toBe(names[number]);
    await expect(queue.take(2)).rejects.toMatchObject({
      message: 's-2.jsonl cannot be indexed: the process that reads it ended with SIGKILL',
    });
    expect(started).toBeGreaterThan(2);
    await queue.close();
  });
});
