import { cp, mkdir, readdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { MixtureSchedule } from '@weft/mixture';
import { temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readBatch } from '../batch/batch-arrays.js';
import { heldOutBatches } from '../batch/held-out-batches.js';
import { RankBatchLoader } from '../batch/rank-batch-loader.js';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';
import { inspectDataset } from './inspect-dataset.js';

/** Two captioned sources, one of which has the name of a method of every object, and a text source. */
const mixture = {
  sources: { photos: 'captioned', constructor: 'captioned', essays: 'text' },
  weights: { photos: 3, constructor: 2, essays: 1 },
} as const;

describe('a dataset with sources of its own', () => {
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>;
  let config: ReturnType<typeof tinyConfig>;

  beforeAll(async () => {
    folder = await temporaryDirectory();
    const at = (name: string) => join(folder.path, name);
    await writeTinyDataset(folder.path);
    await cp(at('captioned'), at('photos'), { recursive: true });
    await mkdir(at('constructor'));
    await rename(at('photos/c-1.tar'), at('constructor/c-1.tar'));
    await cp(at('text'), at('essays'), { recursive: true });
    const { data, model } = tinyConfig(folder.path);
    config = { model, data: { ...data, ...mixture } };
  });
  afterAll(() => folder[Symbol.asyncDispose]());

  it('is indexed by the kinds of its sources, beside the index of the default sources', async () => {
    const { built, sources } = await indexDataset(config);
    expect(built).toBe(true);
    expect(Object.entries(sources).map(([source, { documents }]) => [source, documents])).toEqual([
      ['photos', 8],
      ['constructor', 6],
      ['essays', 4],
    ]);
    expect((await indexDataset(config)).built).toBe(false);
    await indexDataset(tinyConfig(folder.path));
    const [plain = '', own = ''] = await readdir(join(folder.path, 'index'));
    expect([plain, own]).toEqual(['bytes-T48-K4-I3', expect.stringMatching(/^bytes-T48-K4-I3-S[0-9a-f]{8}$/)]);
    const opened = await Dataset.open(config);
    expect(opened.directory).toBe(join(folder.path, 'index', own));
    await opened.close();
  });

  it('is read in the order of its mixture, the same on one rank and on two', async () => {
    await indexDataset(config);
    const dataset = await Dataset.open(config);
    const schedule = new MixtureSchedule(mixture.weights);
    const loaderOptions = { dataset, schedule, seed: 5, microbatchSize: 2, globalBatchSize: 6, prefetchSteps: 0 };
    const loader = new RankBatchLoader({
      ...loaderOptions,
      read: (rows) => readBatch(dataset, rows, loaderOptions),
      heldOutPerSource: 1,
    });
    for (const step of [1, 2]) {
      const whole = await loader.load(step, 0, 1);
      expect(Object.entries(whole.counts.sequences)).toEqual(Object.entries(mixture.weights));
      expect(whole.lossTokens).toBeGreaterThan(0);
      const parts = [await loader.load(step, 0, 2), await loader.load(step, 1, 2)];
      expect(parts.reduce((sum, { lossTokens }) => sum + lossTokens, 0)).toBe(whole.lossTokens);
    }
    const part = { heldOut: 1, microbatchSize: 2, rank: 0, worldSize: 1 };
    for (const source of schedule.sources) {
      let batches = 0;
      for await (const _ of heldOutBatches({ dataset, source, ...part })) batches++;
      expect(batches).toBe(1);
    }
    await loader.close();
    await dataset.close();
  });

  it('names its sources to a person who asks for another one', async () => {
    await indexDataset(config);
    const show = { source: 'toString', sequence: 0 };
    await expect(inspectDataset({ ...config, show })).rejects.toMatchObject({
      code: 'not_found',
      message: 'there is no source toString; the sources are photos, constructor, essays',
    });
    const { sources, sequence } = await inspectDataset({ ...config, show: { source: 'constructor', sequence: 0 } });
    expect(Object.keys(sources)).toEqual(['photos', 'constructor', 'essays']);
    expect(sequence).toMatch(/^constructor sequence 0: /);
  });

  it('is refused when a source has no shards, or shards of another kind', async () => {
    const withSource = (name: string, kind: 'captioned' | 'text') => ({
      ...config,
      data: { ...config.data, sources: { [name]: kind }, weights: { [name]: 1 } },
    });
    await expect(indexDataset(withSource('maps', 'captioned'))).rejects.toThrow(
      `there are no maps shards in ${join(folder.path, 'maps')}`,
    );
    await expect(indexDataset(withSource('photos', 'text'))).rejects.toMatchObject({
      message: `there are no photos shards in ${join(folder.path, 'photos')}`,
      hint: 'put .jsonl or .txt files there, or set data.weights.photos=0',
    });
  });
});
