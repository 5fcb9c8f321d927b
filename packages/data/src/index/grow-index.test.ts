import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ofSource } from '@weft/common';
import { type DataConfig, DEFAULT_DATASET } from '@weft/config';
import { combineDigests, scheduleOf } from '@weft/mixture';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { readBatch } from '../batch/batch-arrays.js';
import { RankBatchLoader } from '../batch/rank-batch-loader.js';
import { png, tinyConfig, writeTar, writeTinyDataset } from '../testing/tiny-dataset.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';
import { inspectDataset } from './inspect-dataset.js';

const SOURCES = ['captioned', 'interleaved', 'text'] as const;

/** Shards of every source, whose names come before and after those that are there. */
async function addShards(directory: string, name: string): Promise<void> {
  const image = await png([1, 2, 3], 12, 12);
  await writeTar(join(directory, 'captioned', `${name}.tar`), [
    ['new.png', image],
    ['new.txt', `a new caption of ${name}`],
  ]);
  await writeTar(join(directory, 'interleaved', `${name}.tar`), [
    ['doc.json', JSON.stringify({ texts: [`new document of ${name}`, null], images: [null, 'i.png'] })],
    ['doc.i.png', image],
  ]);
  const lines = Array.from({ length: 9 }, (_, i) => JSON.stringify({ text: `line ${i} of ${name}` }));
  await writeFile(join(directory, 'text', `${name}.jsonl`), lines.join('\n'));
}

async function withDataset<T>(directory: string, use: (dataset: Dataset) => Promise<T>): Promise<T> {
  const dataset = await Dataset.open(tinyConfig(directory));
  try {
    return await use(dataset);
  } finally {
    await dataset.close();
  }
}

/** Every sequence of an index, with the bytes of its images. */
const contentsOf = (directory: string) =>
  withDataset(directory, async (dataset) => {
    const contents: Record<string, unknown[]> = {};
    for (const source of SOURCES) {
      contents[source] = [];
      for (let index = 0; index < ofSource(dataset.sequences, source); index++) {
        const sequence = await dataset.readSequence(source, index);
        const images = sequence.segments.flatMap((segment) => segment.images);
        const files = await Promise.all(images.map((image) => dataset.readImageFile(source, image)));
        contents[source].push({ sequence, files: files.map((file) => Buffer.from(file).toString('base64')) });
      }
    }
    return contents;
  });

describe('an index that grows', () => {
  it('keeps every sequence under its number, and adds those of the new shards behind them', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    const first = await indexDataset(tinyConfig(folder.path));
    const before = await contentsOf(folder.path);
    const { identity } = await withDataset(folder.path, async (dataset) => dataset);
    const table = join(first.directory, 'captioned.tokens.bin');
    const bytes = await readFile(table);

    await addShards(folder.path, 'a-new');
    await addShards(folder.path, 'z-new');
    const second = await indexDataset(tinyConfig(folder.path));
    expect(second).toMatchObject({ built: true, added: { version: 2, shards: 6 } });
    expect(await readFile(table)).toEqual(bytes);
    const after = await contentsOf(folder.path);
    for (const source of SOURCES) {
      const old = before[source]!;
      expect(after[source]!.slice(0, old.length)).toEqual(old);
      expect(after[source]!.length - old.length).toBe(second.added?.sequences[source]);
      expect(after[source]!.length).toBeGreaterThan(old.length);
    }
    const text = await inspectDataset({
      ...tinyConfig(folder.path),
      verify: true,
      show: { source: 'text', sequence: before.text!.length },
    });
    expect(text.sequence).toContain('line 0 of a-new');
    expect(text.sequence).toContain(`document ${first.sources.text!.documents}`);
    await withDataset(folder.path, async (dataset) => {
      expect(dataset.versions.map(({ sequences }) => sequences.text)).toEqual([
        before.text!.length,
        after.text!.length,
      ]);
      expect(dataset.identityOf(1)).toBe(identity);
      expect(dataset.identityOf(2)).toBe(dataset.identity);
      expect(dataset.identity).not.toBe(identity);
      expect(dataset.manifest.formatVersion).toBe(2);
    });
    expect(await indexDataset(tinyConfig(folder.path))).toMatchObject({ built: false, added: undefined });
  });

  it('grows again and again, also where one source alone has new shards', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await indexDataset(tinyConfig(folder.path));
    await addShards(folder.path, 'b');
    await indexDataset(tinyConfig(folder.path));
    const before = await contentsOf(folder.path);
    await writeFile(join(folder.path, 'text', '0.jsonl'), JSON.stringify({ text: 'the newest' }));
    const { added } = await indexDataset(tinyConfig(folder.path));
    expect(added).toEqual({ version: 3, shards: 1, sequences: { captioned: 0, interleaved: 0, text: 1 } });
    const after = await contentsOf(folder.path);
    expect(after.captioned).toEqual(before.captioned);
    expect(after.text!.slice(0, -1)).toEqual(before.text);
    await inspectDataset({ ...tinyConfig(folder.path), verify: true });
    await withDataset(folder.path, (dataset) => dataset.compareShards(tinyConfig(folder.path).data));
  });

  it('is made anew where a shard has changed or is gone, and where that is asked for', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await indexDataset(tinyConfig(folder.path));
    await addShards(folder.path, 'b');
    await indexDataset(tinyConfig(folder.path));
    const forced = await indexDataset({ ...tinyConfig(folder.path), force: true });
    expect(forced).toMatchObject({ built: true, added: undefined });
    await withDataset(folder.path, async ({ versions }) => expect(versions).toHaveLength(1));
    await writeFile(join(folder.path, 'text', 'b.txt'), 'changed');
    await addShards(folder.path, 'c');
    expect(await indexDataset(tinyConfig(folder.path))).toMatchObject({ built: true, added: undefined });
    await rm(join(folder.path, 'text', 'c.jsonl'));
    expect(await indexDataset(tinyConfig(folder.path))).toMatchObject({ built: true, added: undefined });
  });

  it('stays as it was when a new shard is bad', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await indexDataset(tinyConfig(folder.path));
    const before = await contentsOf(folder.path);
    await writeFile(join(folder.path, 'captioned', 'bad.tar'), 'no tar at all'.repeat(100));
    await expect(indexDataset(tinyConfig(folder.path))).rejects.toThrow('bad.tar is damaged');
    await rm(join(folder.path, 'captioned', 'bad.tar'));
    expect(await contentsOf(folder.path)).toEqual(before);
    expect((await indexDataset(tinyConfig(folder.path))).built).toBe(false);
  });

  it('counts what it leaves out once, also where its process was killed before it wrote the manifest', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    const { data, model } = tinyConfig(folder.path);
    const text = { ...DEFAULT_DATASET, badSamples: 'skip' as const };
    const config = { model, data: { ...data, datasets: { text } } };
    const write = (name: string) => writeFile(join(folder.path, 'text', name), '{"text":"good"}\nnot JSON\n');
    const badTexts = async () => {
      const dataset = await Dataset.open(config);
      const { text: bad = {} } = await dataset.badSamples();
      await dataset.close();
      return Object.values(bad).reduce((sum, each) => sum + each, 0);
    };
    await write('bad-1.jsonl');
    const { directory } = await indexDataset(config);
    const former = await badTexts();
    expect(former).toBeGreaterThan(0);
    const kept = join(folder.path, 'kept.json');
    await cp(join(directory, 'index.json'), kept);
    await write('bad-2.jsonl');
    await indexDataset(config);
    expect(await badTexts()).toBe(former + 1);
    // As a process leaves it that is killed between the list and the manifest.
    await cp(kept, join(directory, 'index.json'));
    expect(await indexDataset(config)).toMatchObject({ built: true, added: { version: 2 } });
    expect(await badTexts()).toBe(former + 1);
  });

  it('gives new documents the images of old archives, and names what nobody uses once', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await rm(join(folder.path, 'interleaved'), { recursive: true });
    const image = await png([9, 9, 9], 12, 12);
    const document = (name: string) => JSON.stringify({ texts: ['seen', null], images: [null, name] });
    const { mkdir } = await import('node:fs/promises');
    await mkdir(join(folder.path, 'interleaved'));
    await writeTar(join(folder.path, 'interleaved', 'pictures.tar'), [
      ['one.png', image],
      ['two.png', image],
    ]);
    await writeFile(join(folder.path, 'interleaved', 'a.jsonl'), document('one.png'));
    const first = await indexDataset(tinyConfig(folder.path));
    expect(first.leftOut.map(({ names }) => names)).toEqual([[expect.stringContaining('two.png')]]);
    await writeFile(join(folder.path, 'interleaved', 'b.jsonl'), document('two.png'));
    expect((await indexDataset(tinyConfig(folder.path))).added?.sequences.interleaved).toBe(1);
    const { interleaved = [] } = await contentsOf(folder.path);
    expect(interleaved).toHaveLength(2);
    expect(interleaved[1]).toMatchObject({ files: [image.toString('base64')] });
  });
});

describe('a run over an index that grows', () => {
  const run = (data: Partial<DataConfig>) => ({ ...tinyConfig('').data, ...data });
  const digestsOf = (directory: string, data: DataConfig, steps: number, worldSize: number) =>
    withDataset(directory, async (dataset) => {
      const digests: string[] = [];
      for (let rank = 0; rank < worldSize; rank++) {
        const loader = new RankBatchLoader({
          ...{ dataset, schedule: scheduleOf({ data, globalBatchSize: 5 }), seed: 3, globalBatchSize: 5 },
          read: (rows) => readBatch(dataset, rows, { microbatchSize: 5, imageSizes: [15] }),
          ...{ microbatchSize: 5, prefetchSteps: 1 },
        });
        for (let step = 1; step <= steps; step++) {
          const { digest } = await loader.load(step, rank, worldSize);
          digests[step - 1] = combineDigests([
            ...(digests[step - 1] === undefined ? [] : [digests[step - 1]!]),
            digest,
          ]);
        }
        await loader.close();
      }
      return digests;
    });

  it('takes what it took before, and from its change on the new shards too, on any number of workers', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await indexDataset(tinyConfig(folder.path));
    const before = await digestsOf(folder.path, run({ indexVersion: 1 }), 12, 1);
    await addShards(folder.path, 'b');
    await indexDataset(tinyConfig(folder.path));
    expect(await digestsOf(folder.path, run({ indexVersion: 1 }), 12, 2)).toEqual(before);
    const weights = { captioned: 1, interleaved: 1, text: 3 };
    const changed = run({ indexVersion: 1, mixtureChanges: [{ fromBatch: 8, weights, indexVersion: 2 }] });
    const after = await digestsOf(folder.path, changed, 12, 3);
    expect(after.slice(0, 7)).toEqual(before.slice(0, 7));
    expect(after.slice(7)).not.toEqual(before.slice(7));
    expect(await digestsOf(folder.path, changed, 12, 1)).toEqual(after);
  });

  it('is refused where the index was made anew without the version that it takes', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    await indexDataset(tinyConfig(folder.path));
    await expect(digestsOf(folder.path, run({ indexVersion: 2 }), 1, 1)).rejects.toThrow(
      'version 2 of the data index from sequence 0 on, but the index has one version',
    );
  });
});
