import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_REMOTE } from '@weft/config';
import { indexDataset } from '@weft/data';
import { recipe } from '@weft/recipes';
import { temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { writeTextData } from '../testing/weft-process.js';
import { cacheNotes, checkShardNames } from './check-data.js';

const shards = [{ name: 'a.tar', bytes: 3 * 2 ** 30, sha256: '' }];
const source = { shards, images: 5 };
const manifest = { sources: { photos: source, books: { ...source, images: 0 } } } as never;
const data = {
  directory: 's3://bucket/data',
  ...{ sources: { photos: 'captioned', books: 'text' }, weights: { photos: 1, books: 1 }, datasets: {} },
  ...{ remote: { ...DEFAULT_REMOTE, cacheBytes: 2 ** 30 }, shuffle: null },
} as never as Parameters<typeof cacheNotes>[1];

it('says which settings help where pictures do not fit into the cache and are shuffled as a whole', () => {
  expect(cacheNotes({ manifest }, data)).toEqual([
    'Its shards with pictures (3 GiB) do not fit into the cache (1 GiB): where they are shuffled as a whole, most pictures are fetched with 8 MiB around them. Set data.shuffle.blockSequences=64, or data.remote.cacheBytes to more.',
  ]);
});

it('says nothing of data that fit, lie in a folder, or are shuffled in blocks', () => {
  const shuffle = { blockSequences: 64, windowBlocks: 64 };
  for (const other of [{ remote: DEFAULT_REMOTE }, { directory: '/data' }, { shuffle }, { weights: { books: 1 } }])
    expect(cacheNotes({ manifest }, { ...data, ...other } as typeof data)).toEqual([]);
});

it('refuses shards that the index here lacks before workers elsewhere begin, and leaves to them what is not here', async () => {
  await using home = await temporaryDirectory();
  await writeTextData(home.path);
  const nano = recipe('debugNano');
  const config = {
    ...nano,
    data: { ...nano.data, directory: join(home.path, 'data'), weights: { captioned: 0, interleaved: 0, text: 1 } },
  };
  const run = { config, recipe: 'debugNano', settings: [], home: home.path };
  await checkShardNames(run);
  await indexDataset(config);
  await checkShardNames(run);
  await writeFile(join(home.path, 'data', 'text', 'new.txt'), 'more');
  await expect(checkShardNames(run)).rejects.toMatchObject({
    message: `the shard ${join(home.path, 'data', 'text', 'new.txt')} is not in the data index`,
    hint: 'run weft data index debugNano, or move the file away',
  });
});
