import { MixtureSchedule } from '@weft/mixture';
import { temporaryDirectory } from '@weft/testing';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Dataset } from '../index/dataset.js';
import { indexDataset } from '../index/index-dataset.js';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { chooseSizes, imageSizes } from './image-sizes.js';

const computed = (frequencies: readonly number[], sizes: readonly number[]) =>
  frequencies.reduce((sum, times, images) => sum + times * sizes.find((size) => size >= images)!, 0);

/** All ways to take `count` of the numbers from `first` to `last`. */
function choices(first: number, last: number, count: number): number[][] {
  if (count === 0) return [[]];
  const starts = Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
  return starts.flatMap((start) => choices(start + 1, last, count - 1).map((rest) => [start, ...rest]));
}

describe('the sizes of microbatches', () => {
  test('are the best there are of their number, from none to all', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { minLength: 2, maxLength: 9 }), (frequencies) => {
        const greatest = frequencies.length - 1;
        const sizes = chooseSizes(frequencies);
        expect([sizes[0], sizes.at(-1)]).toEqual([0, greatest]);
        const others = choices(1, greatest - 1, sizes.length - 2).map((between) => [0, ...between, greatest]);
        expect(computed(frequencies, sizes)).toBe(Math.min(...others.map((each) => computed(frequencies, each))));
      }),
    );
  });

  test('are no more than are worth compiling', () => {
    expect(chooseSizes([5, 0, 0, 0, 0])).toEqual([0, 4]);
    expect(chooseSizes([0, 0, 0, 0, 5])).toEqual([0, 4]);
    expect(chooseSizes([1, 9, 0, 0, 0])).toEqual([0, 1, 4]);
    // Every count is equally likely: each further size spares less than the one before.
    expect(chooseSizes(new Array(101).fill(1))).toEqual([0, 25, 50, 75, 100]);
    expect(chooseSizes(new Array(101).fill(1), 1)).toEqual([0, 50, 100]);
    expect(chooseSizes(new Array(101).fill(1), 0)).toEqual([0, 100]);
  });

  test('follow from the index, the mixture and the devices', async () => {
    await using folder = await temporaryDirectory();
    await writeTinyDataset(folder.path);
    const config = tinyConfig(folder.path);
    await indexDataset(config);
    const dataset = await Dataset.open(config);
    const sizesOf = (weights: Record<string, number>, microbatchSize: number, multipleOf = 1) =>
      imageSizes(dataset, { schedule: new MixtureSchedule(weights), microbatchSize, multipleOf, steps: 200 });
    const all = { captioned: 4, interleaved: 4, text: 1 };
    const sizes = await sizesOf(all, 4);
    expect(sizes).toEqual(await sizesOf(all, 4));
    expect([sizes[0], sizes.at(-1)]).toEqual([0, 12]);
    expect(sizes.length).toBeGreaterThan(2);
    for (const size of await sizesOf(all, 4, 4)) expect(size % 4).toBe(0);
    expect(await sizesOf({ captioned: 0, interleaved: 0, text: 1 }, 4)).toEqual([0, 12]);
    await dataset.close();
  });
});
