import { mkdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { type Members, png, tinyConfig, writeTar, writeTinyDataset } from '../testing/tiny-dataset.js';
import { indexDataset } from './index-dataset.js';

const LINES = 2000;

/** The tiny dataset with one more shard, and its configuration. */
async function withShard(
  directory: string,
  source: string,
  policy: 'refuse' | 'skip',
  write: (folder: string) => Promise<void>,
) {
  await writeTinyDataset(directory);
  await mkdir(join(directory, source), { recursive: true });
  await write(join(directory, source));
  const { data, model } = tinyConfig(directory);
  const settings = { badSamples: policy } as unknown as (typeof data.datasets)[string];
  return { model, data: { ...data, datasets: { [source]: settings } } };
}

async function pairs(count: number): Promise<Members> {
  const image = await png([1, 2, 3], 40, 40);
  return Array.from({ length: count }, (_, i): [string, string | Uint8Array][] => [
    [`${i}.png`, image],
    [`${i}.txt`, `caption ${i}`],
  ]).flat();
}

/** A tar of 20 pairs, cut off in the middle. */
async function writeCutTar(folder: string): Promise<void> {
  const path = join(folder, 'x.tar');
  await writeTar(path, await pairs(20));
  await truncate(path, Math.floor((await readFile(path)).length / 2) + 100);
}

const manyLines = () =>
  Array.from({ length: LINES }, (_, i) => `${JSON.stringify({ text: `${i} ${Math.sin(i)}` })}\n`).join('');

/** All that is left out, by name. */
async function leftOutOf(directory: string): Promise<Record<string, string>> {
  const lines = (await readFile(join(directory, 'left-out.jsonl'), 'utf8')).trim().split('\n');
  return Object.fromEntries(
    lines.map((line) => JSON.parse(line) as { name: string; reason: string }).map(({ name, reason }) => [name, reason]),
  );
}

describe('a damaged archive under the policy skip', () => {
  it('gives the samples before the damage; the rest is left out by name, with the reason', async () => {
    await using folder = await temporaryDirectory();
    const config = await withShard(folder.path, 'captioned', 'skip', writeCutTar);
    const { directory, sources } = await indexDataset(config);
    const more = (sources.captioned?.documents ?? 0) - 14;
    expect(more).toBeGreaterThan(8);
    expect(more).toBeLessThan(11);
    expect(await leftOutOf(directory)).toEqual({
      'captioned/x.tar the rest': expect.stringMatching(/^the tar archive x\.tar is cut off /),
    });
  });

  it('is refused by default, and the way out is named', async () => {
    await using folder = await temporaryDirectory();
    const config = await withShard(folder.path, 'captioned', 'refuse', writeCutTar);
    await expect(indexDataset(config)).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringMatching(/x\.tar is cut off /),
      hint: 'replace the file with an intact copy, or remove it; or set data.datasets.captioned.badSamples=skip to leave such samples out',
    });
  });

  it('gives the lines before the damage of what is packed with gzip', async () => {
    await using folder = await temporaryDirectory();
    const packed = gzipSync(manyLines());
    const config = await withShard(folder.path, 'text', 'skip', (text) =>
      writeFile(join(text, 'x.jsonl.gz'), packed.subarray(0, packed.length / 2)),
    );
    const { directory, sources } = await indexDataset(config);
    const more = (sources.text?.documents ?? 0) - 4;
    expect(more).toBeGreaterThan(LINES / 4);
    expect(more).toBeLessThan(LINES);
    expect(await leftOutOf(directory)).toEqual({
      'text/x.jsonl.gz the rest': 'x.jsonl.gz cannot be unpacked with gunzip',
    });
  });

  it('of which nothing can be read is left out as a whole', async () => {
    await using folder = await temporaryDirectory();
    const config = await withShard(folder.path, 'text', 'skip', async (text) => {
      await writeFile(join(text, 'x.jsonl.zst'), 'not packed');
      await writeFile(join(text, 'y.parquet'), 'no parquet at all');
    });
    const { directory, sources } = await indexDataset(config);
    expect(sources.text?.documents).toBe(4);
    expect(Object.keys(await leftOutOf(directory))).toEqual(['text/x.jsonl.zst the rest', 'text/y.parquet the rest']);
  });

  it('counts as one bad sample each: too many end the indexing', async () => {
    await using folder = await temporaryDirectory();
    const config = await withShard(folder.path, 'text', 'skip', async (text) => {
      for (let i = 0; i < 11; i++) await writeFile(join(text, `x-${i}.jsonl.zst`), 'not packed');
    });
    await expect(indexDataset(config)).rejects.toMatchObject({
      code: 'corrupt_data',
      message: expect.stringMatching(/^11 of 15 samples of text .*largestBadShare/),
    });
  });

  it('that holds the images of documents gives those before the damage', async () => {
    await using folder = await temporaryDirectory();
    const image = await png([1, 2, 3], 40, 40);
    const documents = ['a', 'b', 'c', 'd'].map((name) => ({
      texts: [`of ${name}`, null],
      images: [null, `${name}.png`],
    }));
    const config = await withShard(folder.path, 'interleaved', 'skip', async (interleaved) => {
      await writeTar(
        join(interleaved, 'images.tar'),
        documents.map((_, i) => [`${'abcd'[i]}.png`, image]),
      );
      await writeFile(join(interleaved, 'd.jsonl'), documents.map((each) => JSON.stringify(each)).join('\n'));
      await truncate(join(interleaved, 'images.tar'), 2 * 1024 + 512);
    });
    const { directory, sources } = await indexDataset(config);
    expect(sources.interleaved?.documents).toBe(2);
    const leftOut = await leftOutOf(directory);
    expect(leftOut).toMatchObject({
      'interleaved/images.tar the rest': expect.stringMatching(/^the tar archive images\.tar is cut off/),
      'interleaved/d.jsonl line 4': expect.any(String),
    });
  });
});
