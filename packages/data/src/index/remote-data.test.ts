import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_DATASET } from '@weft/config';
import { MixtureSchedule } from '@weft/mixture';
import { type FileServer, fileServer, type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readBatch } from '../batch/batch-arrays.js';
import { RankBatchLoader } from '../batch/rank-batch-loader.js';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';
import { inspectDataset } from './inspect-dataset.js';
import type { DatasetConfig } from './manifest.js';

let folder: TemporaryDirectory;
let server: FileServer;
let local: DatasetConfig;
let remote: DatasetConfig;

const SHARDS = {
  captioned: 'c-{0..1}.tar',
  interleaved: 'i-0.tar',
  text: 'shards.txt',
};

beforeEach(async () => {
  folder = await temporaryDirectory();
  await writeTinyDataset(join(folder.path, 'data'));
  local = tinyConfig(join(folder.path, 'data'));
  const files = await readdir(join(folder.path, 'data'), { recursive: true, withFileTypes: true });
  const contents = files
    .filter((file) => file.isFile())
    .map(async ({ name, parentPath }) => {
      const path = join(parentPath, name);
      return [path.slice(folder.path.length + 1), await readFile(path)] as const;
    });
  server = await fileServer(Object.fromEntries(await Promise.all(contents)));
  server.files.set('data/text/shards.txt', Buffer.from('# texts\na.jsonl\nb.txt\n'));
  remote = withShards(SHARDS);
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await folder.remove();
});

function withShards(shards: Readonly<Record<string, string | null>>): DatasetConfig {
  const { data, model } = local;
  return {
    model,
    data: {
      ...data,
      directory: `${server.url}/data`,
      index: join(folder.path, 'index'),
      remote: { ...data.remote, cacheDirectory: join(folder.path, 'cache') },
      datasets: Object.fromEntries(
        Object.entries(shards).map(([name, each]) => [name, { ...DEFAULT_DATASET, shards: each }]),
      ),
    },
  };
}

async function digestsOf(config: DatasetConfig): Promise<string[]> {
  const dataset = await Dataset.open(config);
  const loader = new RankBatchLoader({
    ...{ dataset, schedule: new MixtureSchedule(config.data.weights), seed: 5 },
    ...{ microbatchSize: 2, globalBatchSize: 5, prefetchSteps: 1 },
    read: (rows) => readBatch(dataset, rows, { microbatchSize: 2 }),
  });
  try {
    const batches = [];
    for (let step = 1; step <= 6; step++) batches.push(await loader.load(step, 0, 1));
    return batches.map(({ digest, microbatches }) =>
      JSON.stringify([digest, microbatches.map(({ images_NHWC }) => [...(images_NHWC ?? [])])]),
    );
  } finally {
    await loader.close();
    await dataset.close();
  }
}

describe('data at an address', () => {
  it('have the identity, the sequences and the pictures of the same data in a folder', async () => {
    const here = await indexDataset(local);
    const there = await indexDataset(remote);
    expect(there.sources).toEqual(here.sources);
    expect(await digestsOf(remote)).toEqual(await digestsOf(local));
    const { identity, isVerified } = await inspectDataset({ ...remote, verify: true });
    expect(identity).toBe((await inspectDataset(local)).identity);
    expect(isVerified).toBe(true);
  });

  it('are fetched once, and not again where an index is current', async () => {
    const { built } = await indexDataset(remote);
    const fetched = server.requests.length;
    const again = await indexDataset(remote);
    expect([built, again.built]).toEqual([true, false]);
    const after = server.requests.slice(fetched).filter((each) => !each.endsWith('bytes=0-0'));
    expect(after.filter((each) => !each.includes('shards.txt'))).toEqual([]);
  });

  it('grow: of shards that are named later, those alone are fetched', async () => {
    await indexDataset(withShards({ ...SHARDS, captioned: 'c-0.tar' }));
    const before = server.requests.length;
    const { built, sources } = await indexDataset(remote);
    expect(built).toBe(true);
    expect(sources.captioned?.shards.map(({ name }) => name)).toEqual(['c-0.tar', 'c-1.tar']);
    const fetched = server.requests.slice(before).filter((each) => !/bytes=0-0$|shards\.txt/.test(each));
    expect(fetched.map((each) => each.split(' ')[1])).toEqual(['/data/captioned/c-1.tar']);
    const dataset = await Dataset.open(remote);
    await dataset.compareShards(remote.data);
    await dataset.close();
  });

  it('need a folder for their index', async () => {
    const { data, model } = remote;
    await expect(indexDataset({ model, data: { ...data, index: null } })).rejects.toMatchObject({
      code: 'invalid_argument',
      message: `data.directory is ${server.url}/data, where no index can be written`,
      hint: 'set data.index to a folder that all hosts see',
    });
  });

  it('say which setting names the shards of a server without listings', async () => {
    await expect(indexDataset(withShards({ ...SHARDS, text: null }))).rejects.toMatchObject({
      message: `what lies at ${server.url}/data/text cannot be listed: https has no listings`,
    });
  });

  it.each([
    ['c-{0..3}.tar', 'not_found', /the shard .*\/c-2\.tar does not exist/],
    ['c-{0..1.tar', 'invalid_argument', /its braces do not match/],
    ['c-{3..1}.tar', 'invalid_argument', /\{3\.\.1\} ends before it begins/],
    ['c-{0..99999999}.tar', 'invalid_argument', /it names more than 1000000 shards/],
    ['../x.tar', 'invalid_argument', /names \.\.\/x\.tar, which does not lie below/],
    ['none.txt', 'not_found', /none\.txt does not exist/],
  ])('refuse the shards %s in a sentence', async (shards, code, sentence) => {
    await expect(indexDataset(withShards({ ...SHARDS, captioned: shards }))).rejects.toMatchObject({
      code,
      message: expect.stringMatching(sentence) as string,
    });
  });

  it('may be named by braces, lists of names and the index of WebDataset', async () => {
    const { sources } = await indexDataset(remote);
    const shardlist = ['c-0.tar', 'c-1.tar'].map((name) => ({
      url: `${server.url}/data/captioned/${name}`,
      nsamples: 7,
    }));
    server.files.set('data/captioned/index.json', Buffer.from(JSON.stringify({ wids_version: 1, shardlist })));
    for (const captioned of ['c-{0,1}.tar', 'c-0.tar::c-1.tar', 'index.json'])
      expect((await indexDataset(withShards({ ...SHARDS, captioned }))).sources).toEqual(sources);
  });
});

describe('other shards than the index holds', () => {
  const open = async (config: DatasetConfig) => (await Dataset.open(config)).close();

  it.each([
    ['at an address', () => remote],
    [
      'in a folder',
      (): DatasetConfig => ({ ...local, data: { ...local.data, datasets: remote.data.datasets, index: null } }),
    ],
  ])('are refused where they are named %s, fewer or more', async (_where, configOf) => {
    const config = configOf();
    await writeFile(join(folder.path, 'data/text/shards.txt'), 'a.jsonl\nb.txt\n');
    const { directory } = await indexDataset(config);
    const named = (captioned: string): DatasetConfig => ({
      ...config,
      data: {
        ...config.data,
        datasets: { ...config.data.datasets, captioned: { ...DEFAULT_DATASET, shards: captioned } },
      },
    });
    await open(config);
    for (const [shards, sentence] of [
      [
        'c-0.tar',
        /^the data index holds the shard .*\/c-1\.tar, which data\.datasets\.captioned\.shards does not name$/,
      ],
      ['c-{0..2}.tar', /^the shard .*\/c-2\.tar is not in the data index$/],
    ] as const)
      await expect(open(named(shards))).rejects.toMatchObject({
        code: 'failed_precondition',
        message: expect.stringMatching(sentence) as string,
        hint: expect.stringContaining('run weft data index <recipe>') as string,
      });
    expect((await indexDataset(named('c-0.tar'))).built).toBe(true);
    await open(named('c-0.tar'));
    // At an address the two have an index each.
    expect((await indexDataset(config)).directory).toBe(directory);
    await open(config);
  });
});

describe('shards that change at an address', () => {
  async function compare(): Promise<void> {
    const dataset = await Dataset.open(remote);
    try {
      await dataset.compareShards(remote.data);
    } finally {
      await dataset.close();
    }
  }

  it('are found when a run begins, by size and by version', async () => {
    await indexDataset(remote);
    await compare();
    const path = `${server.url}/data/captioned/c-1.tar`;
    const before = server.files.get('data/captioned/c-1.tar')!;
    const changed = Buffer.from(before);
    changed[700]! ^= 1;
    server.files.set('data/captioned/c-1.tar', changed);
    await expect(compare()).rejects.toThrow(`the shard ${path} has changed since it was indexed`);
    server.files.set('data/captioned/c-1.tar', before.subarray(512));
    await expect(compare()).rejects.toThrow(
      `the shard ${path} has ${before.length - 512} bytes, but had ${before.length}`,
    );
    server.files.delete('data/captioned/c-1.tar');
    await expect(compare()).rejects.toThrow(`the shard ${path} is in the data index, but it is missing`);
  });

  it('are not trained on, also where they change later', async () => {
    await indexDataset(remote);
    await rm(join(folder.path, 'cache'), { recursive: true });
    const dataset = await Dataset.open({
      ...remote,
      data: { ...remote.data, remote: { ...remote.data.remote, cacheDirectory: join(folder.path, 'other') } },
    });
    const changed = Buffer.from(server.files.get('data/captioned/c-0.tar')!);
    changed[700]! ^= 1;
    server.files.set('data/captioned/c-0.tar', changed);
    const image = { shard: 0, offset: 512, bytes: 10, view: 0 };
    await expect(dataset.readImageFile('captioned', image)).rejects.toThrow('has changed since it was indexed');
    await dataset.close();
  });
});
