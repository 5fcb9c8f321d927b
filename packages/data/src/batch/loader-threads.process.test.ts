import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { FakeClock, temporaryDirectory, waitFor } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { Dataset } from '../index/dataset.js';
import type { DecodingOptions } from '../index/image-reader.js';
import { indexDataset } from '../index/index-dataset.js';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { readBatch } from './batch-arrays.js';

const THREAD = new URL('../../dist/formats/decode-thread.js', import.meta.url);

/** Every microbatch of two sources, read with threads as these. */
async function readAll(directory: string, decoding: DecodingOptions) {
  const dataset = await Dataset.open(tinyConfig(directory), decoding);
  try {
    const batches = [];
    for (const source of ['captioned', 'interleaved'])
      for (let index = 0; index + 1 < (dataset.sequences[source] ?? 0); index += 2) {
        const rows = [index, index + 1].map((each) => ({ source, index: each }));
        batches.push(await readBatch(dataset, rows, { microbatchSize: 2 }));
      }
    return { batches, decoded: dataset.decoded };
  } finally {
    await dataset.close();
  }
}

/** A module of threads, the first of which meets trouble with its first picture. `begun` is there from then on. */
async function troubledModule(folder: string, trouble: string): Promise<{ module: URL; begun: string }> {
  const begun = join(folder, 'begun');
  const path = join(folder, 'troubled-thread.mjs');
  await writeFile(
    path,
    `import { openSync, existsSync } from 'node:fs';
     import { parentPort } from 'node:worker_threads';
     const begin = () => { try { openSync(${JSON.stringify(begun)}, 'wx'); return true; } catch { return false; } };
     if (!existsSync(${JSON.stringify(begun)}) && begin()) parentPort.on('message', () => { ${trouble} });
     else await import(${JSON.stringify(THREAD.href)});`,
  );
  return { module: pathToFileURL(path), begun };
}

async function withDataset(use: (directory: string, scratch: string) => Promise<void>): Promise<void> {
  await using folder = await temporaryDirectory();
  await using scratch = await temporaryDirectory();
  await writeTinyDataset(folder.path);
  await indexDataset(tinyConfig(folder.path));
  await use(folder.path, scratch.path);
}

describe('the threads of a loader', () => {
  it('decode to what this thread decodes to', () =>
    withDataset(async (directory) => {
      const here = await readAll(directory, {});
      const there = await readAll(directory, { module: THREAD });
      expect(there.batches).toEqual(here.batches);
      expect(there.decoded).toMatchObject({ images: here.decoded.images, replacedThreads: 0 });
    }));

  it.each([
    ['that is killed', 'process.exit(7)', 'ended with code 7'],
    ['that throws', `throw new Error('of its own')`, 'ended (of its own)'],
  ])('are replaced: one %s', (_, trouble, what) =>
    withDataset(async (directory, scratch) => {
      const { module } = await troubledModule(scratch, trouble);
      const sentences: string[] = [];
      const troubled = await readAll(directory, { module, onReplaced: (sentence) => sentences.push(sentence) });
      expect(troubled.batches).toEqual((await readAll(directory, {})).batches);
      expect(troubled.decoded.replacedThreads).toBe(1);
      expect(sentences).toEqual([
        expect.stringMatching(
          /^a loader thread .* while it decoded the image at byte \d+ of .*\.tar, and was replaced$/,
        ),
      ]);
      expect(sentences[0]).toContain(what);
    }),
  );

  it('are replaced: one that never answers', () =>
    withDataset(async (directory, scratch) => {
      const { module, begun } = await troubledModule(scratch, 'for (;;);');
      const clock = new FakeClock();
      const sentences: string[] = [];
      const dataset = await Dataset.open(tinyConfig(directory), {
        ...{ module, clock, onReplaced: (sentence) => sentences.push(sentence) },
      });
      const rows = [{ source: 'captioned', index: 0 }];
      const reading = readBatch(dataset, rows, { microbatchSize: 1 });
      await waitFor('the hung thread alone', () => existsSync(begun) && clock.sleeping === 1);
      await clock.advance(120_000);
      const plain = await Dataset.open(tinyConfig(directory));
      expect(await reading).toEqual(await readBatch(plain, rows, { microbatchSize: 1 }));
      expect(sentences).toEqual([expect.stringContaining('did not answer for 120 s while it decoded the image')]);
      await dataset.close();
      await plain.close();
    }));

  it('are not started for ever: a picture that ends each of them is named', () =>
    withDataset(async (directory, scratch) => {
      const path = join(scratch, 'dying-thread.mjs');
      await writeFile(
        path,
        `import { parentPort } from 'node:worker_threads'; parentPort.on('message', () => process.exit(9));`,
      );
      await expect(
        readAll(directory, { module: pathToFileURL(path), onReplaced: () => undefined }),
      ).rejects.toMatchObject({
        code: 'corrupt_data',
        message: expect.stringMatching(
          /^the image \S+ in .* cannot be decoded: 2 threads were lost with it: the last ended with code 9$/,
        ),
      });
    }));

  it('end with their dataset, whatever they do', () =>
    withDataset(async (directory, scratch) => {
      const { module, begun } = await troubledModule(scratch, 'for (;;);');
      const dataset = await Dataset.open(tinyConfig(directory), { module });
      const reading = readBatch(dataset, [{ source: 'captioned', index: 0 }], { microbatchSize: 1 });
      const refused = expect(reading).rejects.toMatchObject({ code: 'cancelled' });
      await waitFor('the hung thread', () => existsSync(begun));
      await dataset.close();
      await refused;
    }));
});
