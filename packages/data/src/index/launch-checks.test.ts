import { readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_DATASET } from '@weft/config';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import sharp from 'sharp';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { checkEpochs } from './check-epochs.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';
import { inspectDataset } from './inspect-dataset.js';

let folder: TemporaryDirectory;
let config: ReturnType<typeof tinyConfig>;

beforeEach(async () => {
  folder = await temporaryDirectory();
  await writeTinyDataset(folder.path);
  config = tinyConfig(folder.path);
});
afterEach(() => folder.remove());

/** What a run is begun with. */
async function compare(): Promise<void> {
  const dataset = await Dataset.open(config);
  try {
    await dataset.compareShards(config.data);
  } finally {
    await dataset.close();
  }
}

describe('shards whose bytes change under an index', () => {
  it('are found before a run begins, where their size is the same', async () => {
    await indexDataset(config);
    await compare();
    for (const name of ['captioned/c-1.tar', 'text/a.jsonl', 'text/b.txt']) {
      const path = join(folder.path, name);
      const content = await readFile(path);
      const changed = Buffer.from(content);
      changed[content.length >> 1]! ^= 1;
      await writeFile(path, changed);
      await expect(compare()).rejects.toMatchObject({
        code: 'failed_precondition',
        message: `the shard ${path} has changed since it was indexed`,
      });
      await writeFile(path, content);
    }
    await compare();
  });

  it('are the same with other times', async () => {
    await indexDataset(config);
    await utimes(join(folder.path, 'text/a.jsonl'), 1, 1);
    await compare();
  });

  it('are compared by size alone where an older version made the index', async () => {
    const { directory } = await indexDataset(config);
    await rm(join(directory, 'shard-samples.json'));
    await compare();
  });
});

describe('the index', () => {
  it('may lie elsewhere than the data', async () => {
    await using other = await temporaryDirectory();
    const elsewhere = { ...config, data: { ...config.data, index: other.path } };
    const { directory } = await indexDataset(elsewhere);
    expect(directory).toMatch(/bytes-T48-K4-I3-F[0-9a-f]{8}$/);
    await (await Dataset.open(elsewhere)).close();
    await expect(Dataset.open(config)).rejects.toMatchObject({ code: 'not_found' });
  });

  it('is refused where it cannot be written, before the shards are read', async () => {
    const path = join(folder.path, 'file');
    await writeFile(path, 'x');
    await expect(
      indexDataset({ ...config, data: { ...config.data, index: join(path, 'index') } }),
    ).rejects.toMatchObject({
      message: `the packed index cannot be written to ${join(path, 'index')}: a part of the path is a file`,
      hint: 'set data.index to a folder that can be written',
    });
  });

  it('leaves no empty folder where the data are refused', async () => {
    await rm(join(folder.path, 'text'), { recursive: true });
    await expect(indexDataset(config)).rejects.toMatchObject({ code: 'not_found' });
    expect(await readdir(folder.path)).not.toContain('index');
    const directory = join(folder.path, 'mistyped', 'data');
    await expect(indexDataset({ ...config, data: { ...config.data, directory } })).rejects.toMatchObject({
      code: 'not_found',
    });
    expect(await readdir(folder.path)).not.toContain('mistyped');
  });
});

describe('epochs of a dataset', () => {
  it('bound how often a run reads it', () => {
    const sequences = { captioned: 100, interleaved: 1000, text: 1000 };
    const datasets = { captioned: { ...DEFAULT_DATASET, epochs: 2 } };
    const run = (steps: number) => ({
      ...{ data: { ...config.data, datasets }, steps, globalBatchSize: 9 },
      evaluation: { everySteps: 1, sequencesPerSource: 10, tasks: {}, shots: [] },
    });
    checkEpochs({ sequences }, run(45) as never);
    expect(() => checkEpochs({ sequences }, run(46) as never)).toThrow(
      'the run takes 184 sequences of captioned, 2.0444 times its 90, more than data.datasets.captioned.epochs allows (2)',
    );
  });
});

describe('a sheet of the images of a sequence', () => {
  it('shows each of them with its number', async () => {
    await indexDataset(config);
    const { sheet, sequence, sources } = await inspectDataset({
      ...config,
      show: { source: 'captioned', sequence: 0, sheet: true },
    });
    const images = sequence?.match(/⟨image \d: /g) ?? [];
    expect(images.length).toBeGreaterThan(1);
    const { width, height, format } = await sharp(sheet!).metadata();
    expect([format, width, height]).toEqual(['png', 12 + images.length * 204, 216]);
    expect(sources.captioned?.imageSlotRatio).toBeGreaterThan(0.3);
    expect(sources.text?.imageSlotRatio).toBe(0);
  });

  it('is refused for a sequence without images', async () => {
    await indexDataset(config);
    await expect(inspectDataset({ ...config, show: { source: 'text', sequence: 0, sheet: true } })).rejects.toThrow(
      'text sequence 0 has no images for a sheet',
    );
  });
});
