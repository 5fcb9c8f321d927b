import { createHash } from 'node:crypto';
import { rename } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_SOURCES, ofSource } from '@weft/common';
import { combineDigests, MixtureSchedule, SourceOrder } from '@weft/mixture';
import { temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Dataset } from '../index/dataset.js';
import { indexDataset } from '../index/index-dataset.js';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { type BatchArrays, type BatchShapes, readBatch } from './batch-arrays.js';
import { heldOutBatches } from './held-out-batches.js';
import { type RankBatch, RankBatchLoader, type RankBatchLoaderOptions } from './rank-batch-loader.js';

const GLOBAL_BATCH_SIZE = 7;
const POSITIONS = 48;
const IMAGE_PIXELS = 6 * 6 * 3;
const SLOTS = 3;

const IMAGE_POSITIONS = 4;

const orderOf = (source: string, sequences: number) =>
  new SourceOrder({ source, seed: 5, sizes: [{ first: 0, sequences }] });

/** The rows of all microbatches as bytes, padding rows left out, each with the images that it names. */
function rowsOf(rankBatch: Pick<RankBatch<BatchArrays>, 'microbatches'>): string[] {
  return rankBatch.microbatches.flatMap((batch) => {
    const count = batch.tokenIds_BT.length / POSITIONS;
    return Array.from({ length: count }, (_, b) => rowOf(batch, b)).flat();
  });
}

function rowOf(batch: BatchArrays, b: number): string[] {
  const cut = <A extends Int32Array | Float32Array>(array: A) => array.slice(b * POSITIONS, (b + 1) * POSITIONS);
  if (cut(batch.segmentIds_BT).every((id) => id === 0)) return [];
  const hash = createHash('sha256');
  for (const array of [
    batch.tokenIds_BT,
    batch.targetIds_BT,
    batch.lossMask_BT,
    batch.segmentIds_BT,
    batch.positions_BT,
  ])
    hash.update(cut(array));
  for (const index of cut(batch.imageTokenIndex_BT)) {
    const [image, position] = [Math.floor((index - 1) / IMAGE_POSITIONS), (index - 1) % IMAGE_POSITIONS];
    hash.update(index === 0 ? 'text' : `position ${position} of an image`);
    if (index > 0) hash.update(imageOf(batch, image));
  }
  return [hash.digest('hex')];
}

function imageOf({ images_NHWC = new Float32Array() }: BatchArrays, image: number): Float32Array {
  const pixels = images_NHWC.slice(image * IMAGE_PIXELS, (image + 1) * IMAGE_PIXELS);
  expect(pixels).toHaveLength(IMAGE_PIXELS);
  return pixels;
}

/** How many images the sequences of a microbatch name. */
function imagesNamed({ imageTokenIndex_BT }: BatchArrays): number {
  return Math.max(...imageTokenIndex_BT) / IMAGE_POSITIONS;
}

describe('RankBatchLoader', () => {
  let folder: Awaited<ReturnType<typeof temporaryDirectory>>;
  let dataset: Dataset;
  let schedule: MixtureSchedule;
  const loaderWith = (options: Partial<RankBatchLoaderOptions<BatchArrays> & BatchShapes> = {}) => {
    const shapes = { microbatchSize: 2, ...options };
    return new RankBatchLoader({
      dataset,
      schedule,
      read: (rows) => readBatch(dataset, rows, shapes),
      seed: 5,
      microbatchSize: 2,
      globalBatchSize: GLOBAL_BATCH_SIZE,
      prefetchSteps: 2,
      ...options,
    });
  };

  beforeAll(async () => {
    folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    const config = tinyConfig(folder.path);
    await indexDataset(config);
    dataset = await Dataset.open(config);
    schedule = new MixtureSchedule(config.data.weights);
  });
  afterAll(async () => {
    await dataset.close();
    await folder[Symbol.asyncDispose]();
  });

  it('gives the same rows, loss tokens and digest for any worldSize', async () => {
    for (const step of [1, 2, 9]) {
      const alone = loaderWith();
      const whole = await alone.load(step, 0, 1);
      await alone.close();
      for (const worldSize of [2, 3, 5, 7]) {
        const batches: RankBatch<BatchArrays>[] = [];
        for (let rank = 0; rank < worldSize; rank++) {
          const loader = loaderWith({ microbatchSize: 1 + (rank % 3) });
          batches.push(await loader.load(step, rank, worldSize));
          await loader.close();
        }
        expect(batches.flatMap((batch) => rowsOf(batch))).toEqual(rowsOf(whole));
        expect(batches.reduce((sum, batch) => sum + batch.lossTokens, 0)).toBe(whole.lossTokens);
        expect(combineDigests(batches.map(({ digest }) => digest))).toBe(whole.digest);
      }
    }
  });

  it('leaves out the batches that are skipped: a later step takes the next one', async () => {
    const whole = loaderWith();
    const skipping = loaderWith({ skippedBatches: [{ first: 3, end: 5 }] });
    for (const [step, batch] of [
      [2, 2],
      [3, 5],
      [4, 6],
    ] as const) {
      const { digest } = await skipping.load(step, 0, 1);
      expect(digest, `step ${step}`).toBe((await whole.load(batch, 0, 1)).digest);
    }
    const named: string[] = [];
    for await (const { source, sequence } of skipping.sequences(3)) named.push(`${source}:${sequence}`);
    const wanted = Array.from({ length: GLOBAL_BATCH_SIZE }, (_, n) => {
      const { source, indexInSource } = schedule.locate(4 * GLOBAL_BATCH_SIZE + n);
      return `${source}:${orderOf(source, ofSource(dataset.sequences, source)).at(indexInSource).sequence}`;
    });
    expect(named).toEqual(wanted);
    for (const loader of [whole, skipping]) await loader.close();
  });

  it('reads the sequences that schedule, seed and step name', async () => {
    const loader = loaderWith({ microbatchSize: 3 });
    const rankBatch = await loader.load(4, 0, 1);
    expect(rankBatch.microbatches).toHaveLength(3);
    const counts = new Map(DEFAULT_SOURCES.map((source): [string, number] => [source, 0]));
    let targets = 0;
    for (let n = 0; n < GLOBAL_BATCH_SIZE; n++) {
      const { source, indexInSource } = schedule.locate(3 * GLOBAL_BATCH_SIZE + n);
      const { sequence } = orderOf(source, ofSource(dataset.sequences, source)).at(indexInSource);
      const { positions } = await dataset.readSequence(source, sequence);
      counts.set(source, (counts.get(source) ?? 0) + 1);
      const batch = rankBatch.microbatches[Math.floor(n / 3)]!;
      const row = (n % 3) * POSITIONS;
      const used = batch.segmentIds_BT.slice(row, row + POSITIONS).filter((id) => id > 0).length;
      expect(used).toBe(positions);
      targets += batch.lossMask_BT.slice(row, row + POSITIONS).reduce((sum, value) => sum + value, 0);
    }
    expect(rankBatch.counts.sequences).toEqual(Object.fromEntries(counts));
    expect(Object.values(rankBatch.counts.lossTokens).reduce((sum, each) => sum + each, 0)).toBe(targets);
    expect(rankBatch.lossTokens).toBe(targets);
    await loader.close();
  });

  it('never trains on held-out sequences, and gives each of them to one rank', async () => {
    const heldOut = 2;
    const loader = new RankBatchLoader({
      ...{ dataset, schedule, seed: 5, microbatchSize: 7, globalBatchSize: 7, prefetchSteps: 0 },
      read: (rows) => readBatch(dataset, rows, { microbatchSize: 7 }),
      heldOutPerSource: heldOut,
    });
    const trained = new Set<string>();
    for (let step = 1; step <= 30; step++) for (const row of rowsOf(await loader.load(step, 0, 1))) trained.add(row);
    await loader.close();
    for (const source of DEFAULT_SOURCES) {
      const rowsWith = async (worldSize: number, microbatchSize: number) => {
        const rows: string[] = [];
        for (let rank = 0; rank < worldSize; rank++)
          for await (const batch of heldOutBatches({ dataset, source, heldOut, microbatchSize, rank, worldSize }))
            rows.push(...rowsOf({ microbatches: [batch] }));
        return rows;
      };
      const rows = await rowsWith(1, 1);
      expect(rows).toHaveLength(heldOut);
      for (const row of rows) expect(trained).not.toContain(row);
      expect(await rowsWith(2, 2)).toEqual(rows);
      expect(await rowsWith(3, 1)).toEqual(rows);
    }
    expect(trained.size).toBe(Object.values(dataset.sequences).reduce((sum, count) => sum + count - heldOut, 0));
  });

  it('pads the last microbatch with rows that are nothing but padding', async () => {
    const loader = loaderWith({ microbatchSize: 4 });
    const { microbatches } = await loader.load(1, 0, 1);
    const last = microbatches.at(-1)!;
    expect(microbatches).toHaveLength(2);
    const padding = (array: Int32Array | Float32Array) => array.slice(3 * POSITIONS);
    for (const array of [
      last.targetIds_BT,
      last.lossMask_BT,
      last.segmentIds_BT,
      last.positions_BT,
      last.imageTokenIndex_BT,
    ])
      expect(padding(array).every((value) => value === 0)).toBe(true);
    expect(padding(last.tokenIds_BT).every((id) => id === 257)).toBe(true);
    const used = imagesNamed(last) * IMAGE_PIXELS;
    expect(last.images_NHWC).toHaveLength(4 * SLOTS * IMAGE_PIXELS);
    expect(last.images_NHWC?.slice(used).every((value) => value === 0)).toBe(true);
    await loader.close();
  });

  it('gives a microbatch the least room that holds its images, and the same rows in it', async () => {
    const [plain, sized] = [loaderWith(), loaderWith({ imageSizes: [0, 2, 3, 2 * SLOTS] })];
    const rooms = new Set<number>();
    for (let step = 1; step <= 12; step++) {
      const [whole, batch] = [await plain.load(step, 0, 1), await sized.load(step, 0, 1)];
      expect(rowsOf(batch)).toEqual(rowsOf(whole));
      for (const microbatch of batch.microbatches) {
        const room = (microbatch.images_NHWC?.length ?? 0) / IMAGE_PIXELS;
        expect(room).toBe([0, 2, 3, 6].find((size) => size >= imagesNamed(microbatch)));
        expect('images_NHWC' in microbatch).toBe(room > 0);
        rooms.add(room);
      }
    }
    expect([...rooms].toSorted()).toEqual([0, 2, 3, 6]);
    await Promise.all([plain.close(), sized.close()]);
  });

  it('gives what it read ahead, and reads anew after a jump, a repeated step or another worldSize', async () => {
    const fresh = async (step: number, rank: number, worldSize: number) => {
      const loader = loaderWith({ prefetchSteps: 0 });
      const rows = rowsOf(await loader.load(step, rank, worldSize));
      await loader.close();
      return rows;
    };
    const loader = loaderWith();
    for (const [step, rank, worldSize] of [
      [1, 0, 2],
      [2, 0, 2],
      [3, 0, 2],
      [3, 0, 2],
      [4, 1, 3],
      [5, 1, 3],
      [20, 1, 3],
      [2, 1, 3],
    ] as const)
      expect(rowsOf(await loader.load(step, rank, worldSize))).toEqual(await fresh(step, rank, worldSize));
    await loader.close();
  });

  it('changes its order with the seed, and visits every sequence once an epoch', async () => {
    const digestOf = async (seed: number) => {
      const loader = loaderWith({ seed });
      const { digest } = await loader.load(1, 0, 1);
      await loader.close();
      return digest;
    };
    expect(await digestOf(5)).not.toBe(await digestOf(6));
    expect(await digestOf(5)).toBe(await digestOf(5));
  });

  it('reports a failure at the step it belongs to, and can go on once it is mended', async () => {
    const path = join(folder.path, 'captioned');
    const fresh = await Dataset.open(tinyConfig(folder.path));
    const options = { schedule, seed: 5, microbatchSize: 2, globalBatchSize: GLOBAL_BATCH_SIZE, prefetchSteps: 1 };
    const loader = new RankBatchLoader({
      dataset: fresh,
      read: (rows) => readBatch(fresh, rows, options),
      ...options,
    });
    await rename(path, `${path}-away`);
    await expect(loader.load(1, 0, 1)).rejects.toMatchObject({ code: 'not_found' });
    await rename(`${path}-away`, path);
    expect((await loader.load(1, 0, 1)).microbatches).toHaveLength(4);
    await loader.close();
    await fresh.close();
  });

  it('gives up when it is closed, and refuses ranks outside the world', async () => {
    const loader = loaderWith();
    await expect(loader.load(1, 3, 3)).rejects.toThrow('rank 3 is not one of the ranks 0 to 2');
    await loader.load(1, 0, 1);
    await loader.close();
    await expect(loader.load(2, 0, 1)).rejects.toMatchObject({ code: 'cancelled' });
  });
});
