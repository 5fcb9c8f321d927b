import { ofSource, Random, type SourceId } from '@weft/common';
import type { MixtureSchedule } from '@weft/mixture';
import type { Dataset } from '../index/dataset.js';

/** What decides how many images the microbatches of a run hold. */
export interface ImageSizesOptions {
  readonly schedule: MixtureSchedule;
  readonly microbatchSize: number;
  /** Every size is a multiple of it: the devices that images are cut over. */
  readonly multipleOf: number;
  /** The steps of the run: a short one ends before further sizes are worth their compilation. */
  readonly steps: number;
}

/** Microbatches that are drawn to learn how many images they have. */
const DRAWS = 4096;
/** The most sizes between none and all: each is compiled once for every phase. */
const MOST_SIZES = 4;
/** One size more for so many steps: its compilation takes about as long as it saves in them. */
const STEPS_OF_A_SIZE = 50;
/** A further size must spare this part of all slots on average, or its compilation is not worth it. */
const LEAST_GAIN = 1 / 40;

/**
 * The sizes in which the images of a run's microbatches come: 0, a few that cover most microbatches with little padding,
 * and the most that a microbatch can have. They follow from the index and the settings alone, so that a run that is
 * resumed computes as the one that was not interrupted.
 * @returns ascending
 */
export async function imageSizes(dataset: Dataset, options: ImageSizesOptions): Promise<readonly number[]> {
  const { schedule, microbatchSize, multipleOf, steps } = options;
  const samples: Record<SourceId, Uint16Array> = {};
  for (const source of schedule.sources)
    if (ofSource(schedule.weights, source) > 0) samples[source] = await dataset.sampleImageCounts(source);
  const random = Random.of('images of a microbatch');
  const slots = microbatchSize * dataset.limits.imagesPerSequence;
  const frequencies = new Array<number>(slots / multipleOf + 1).fill(0);
  for (let draw = 0; draw < DRAWS; draw++) {
    // Which rows of a step a microbatch takes depends on the number of ranks; so it may begin anywhere.
    const first = random.below(schedule.period);
    let images = 0;
    for (let row = 0; row < microbatchSize; row++) {
      const sample = ofSource(samples, schedule.locate(first + row).source);
      images += sample[random.below(sample.length)]!;
    }
    frequencies[Math.ceil(images / multipleOf)]! += 1;
  }
  const most = Math.min(MOST_SIZES, Math.floor(steps / STEPS_OF_A_SIZE));
  return chooseSizes(frequencies, most).map((multiple) => multiple * multipleOf);
}

/**
 * The sizes that make the mean of what is computed least, with as many of them as are worth it.
 * @param frequencies how often 0, 1, 2, … are needed; the last is the greatest that can be
 * @param most how many sizes there may be between 0 and the greatest
 * @returns ascending, from 0 to the greatest
 */
export function chooseSizes(frequencies: readonly number[], most = MOST_SIZES): readonly number[] {
  const greatest = frequencies.length - 1;
  let needed = 0;
  const neededUpTo = frequencies.map((each) => (needed += each));
  /** What is computed for all that need more than `below` and at most `size`. */
  const cost = (below: number, size: number) => size * (neededUpTo[size]! - neededUpTo[below]!);

  // By size: the cheapest choice that ends in it, with ever more sizes between it and 0.
  let choices = frequencies.map((_, size): Choice => ({ sizes: size === 0 ? [0] : [0, size], cost: cost(0, size) }));
  let chosen = choices[greatest]!;
  for (let between = 1; between <= most; between++) {
    const fewer = choices;
    choices = fewer.map((without, size) => {
      let best = without;
      for (let below = 1; below < size; below++) {
        const { sizes, cost: costBelow } = fewer[below]!;
        const total = costBelow + cost(below, size);
        if (total < best.cost) best = { sizes: [...sizes, size], cost: total };
      }
      return best;
    });
    const next = choices[greatest]!;
    if (chosen.cost - next.cost < LEAST_GAIN * greatest * needed) break;
    chosen = next;
  }
  return chosen.sizes;
}

interface Choice {
  /** Ascending, from 0. */
  readonly sizes: readonly number[];
  /** Of all draws together, in images. */
  readonly cost: number;
}
