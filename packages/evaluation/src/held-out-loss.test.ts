import { inMemoryRing } from '@weft/collectives';
import type { HeldOutLoss } from '@weft/contracts';
import type { HeldOutSet, Microbatch } from '@weft/tasks';
import { rankSlice } from '@weft/topology';
import { expect, test } from 'vitest';
import { heldOutLoss } from './held-out-loss.js';

/** Sequences whose losses are given, one a microbatch; each counts as two tokens. */
function setOf(source: HeldOutSet['source'], weight: number, losses: readonly number[]): HeldOutSet {
  return {
    source,
    weight,
    async *microbatches(rank, worldSize) {
      const { first, end } = rankSlice(0, losses.length, rank, worldSize);
      for (const loss of losses.slice(first, end)) yield { loss: Float32Array.of(loss) };
    },
  };
}

const sets = [setOf('captioned', 4, [1, 2, 3, 6]), setOf('interleaved', 0, [1e6]), setOf('text', 1, [4])];
const lossOf = ({ loss }: Microbatch) => 2 * (loss?.[0] ?? Number.NaN);

async function measure(worldSize: number): Promise<readonly HeldOutLoss[]> {
  const ring = inMemoryRing(worldSize);
  const evaluate = async (microbatch: Microbatch) => ({ lossSum: lossOf(microbatch), lossTokens: 2 });
  const signal = new AbortController().signal;
  const losses = await Promise.all(ring.map((group) => heldOutLoss({ sets, evaluate, group, signal })));
  for (const group of ring) await group.close();
  return losses;
}

test.each([1, 2, 3, 5])('is the mean of the sources, weighted by the mixture, on each of %i ranks', async (ranks) => {
  for (const { loss, sources } of await measure(ranks)) {
    expect(sources).toEqual({ captioned: 3, interleaved: null, text: 4 });
    expect(loss).toBeCloseTo((4 * 3 + 4) / 5, 12);
  }
});

test('a source without weight is not evaluated, and microbatches are counted set by set', async () => {
  const seen: [number, number][] = [];
  const evaluate = async (microbatch: Microbatch, index: number) => {
    seen.push([lossOf(microbatch) / 2, index]);
    return { lossSum: 1, lossTokens: 1 };
  };
  await heldOutLoss({ sets, evaluate, group: inMemoryRing(1)[0]!, signal: new AbortController().signal });
  expect(seen).toEqual([
    [1, 0],
    [2, 1],
    [3, 2],
    [6, 3],
    [4, 0],
  ]);
});

test('ends between two microbatches when it is aborted', async () => {
  const aborted = new AbortController();
  let evaluated = 0;
  const evaluate = async () => {
    evaluated++;
    aborted.abort();
    return { lossSum: 1, lossTokens: 1 };
  };
  const measured = heldOutLoss({ sets, evaluate, group: inMemoryRing(1)[0]!, signal: aborted.signal });
  await expect(measured).rejects.toMatchObject({ code: 'cancelled' });
  expect(evaluated).toBe(1);
});
