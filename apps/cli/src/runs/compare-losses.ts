import type { MetricsRow } from '@weft/contracts';

/** How far two runs were the same. */
export interface ComparedLosses {
  /** How many steps both have trained. */
  readonly steps: number;
  /** The first of them whose losses are not equal bit for bit; undefined: all are. */
  readonly firstDifference: PairOfLosses | undefined;
  /** The last of them. */
  readonly last: PairOfLosses | undefined;
}

/** A step and its losses in both runs; null where one was not finite. */
export interface PairOfLosses {
  readonly step: number;
  readonly losses: readonly [number | null, number | null];
}

/** Compares the losses of the steps that two runs have both trained. @param one and @param other rows by rising step */
export async function compareLosses(
  one: AsyncIterable<MetricsRow>,
  other: AsyncIterable<MetricsRow>,
): Promise<ComparedLosses> {
  let steps = 0;
  let firstDifference: PairOfLosses | undefined;
  let last: PairOfLosses | undefined;
  const others = other[Symbol.asyncIterator]();
  try {
    let next = await others.next();
    for await (const { step, loss } of one) {
      while (!next.done && next.value.step < step) next = await others.next();
      if (next.done) break;
      if (next.value.step > step) continue;
      steps++;
      last = { step, losses: [loss, next.value.loss] };
      if (loss !== next.value.loss) firstDifference ??= last;
    }
  } finally {
    await others.return?.();
  }
  return { steps, firstDifference, last };
}
