import type { ProcessGroup } from '@weft/collectives';
import { WeftError } from '@weft/common';
import type { RunConfig } from '@weft/config';
import type { HeldOutLoss } from '@weft/contracts';
import { heldOutBatchCount } from '@weft/data';
import type { HeldOutSet, Microbatch } from '@weft/tasks';

/** The loss of some microbatches, as sums that add up. */
export interface LossSum {
  readonly lossSum: number;
  /** What `lossSum` is divided by to give a mean. */
  readonly lossTokens: number;
}

export interface HeldOutOptions {
  readonly sets: readonly HeldOutSet[];
  /**
   * The forward pass of one microbatch on the model as it stands.
   * @param index 0, 1, …: the number of the microbatch among the rank's own of one set
   */
  readonly evaluate: (microbatch: Microbatch, index: number) => Promise<LossSum>;
  readonly group: Pick<ProcessGroup, 'rank' | 'worldSize' | 'allReduceSum'>;
  /** Ends the evaluation between two microbatches. */
  readonly signal: AbortSignal;
}

/**
 * The held-out loss: every rank computes its part of every set, and the sums go around the ring once.
 * @throws WeftError `unavailable` when the ring breaks, `cancelled` when the signal aborts.
 */
export async function heldOutLoss(options: HeldOutOptions): Promise<HeldOutLoss> {
  const { sets, group } = options;
  const startedMs = performance.now();
  // Sets of weight 0 keep their two zeros: the ring adds in an order that follows from the length.
  const sums = new Float32Array(2 * sets.length);
  for (const [i, set] of sets.entries()) {
    if (set.weight === 0) continue;
    const { lossSum, lossTokens } = await sumOfSet(options, set);
    sums.set([lossSum, lossTokens], 2 * i);
  }
  await group.allReduceSum(sums);

  const losses = sets.map(({ weight }, i) => (weight > 0 ? (sums[2 * i] ?? 0) / (sums[2 * i + 1] ?? 0) : null));
  const totalWeight = sets.reduce((sum, { weight }) => sum + weight, 0);
  const loss = sets.reduce((sum, { weight }, i) => sum + (weight / totalWeight) * (losses[i] ?? 0), 0);
  const sources = Object.fromEntries(sets.map(({ source }, i) => [source, losses[i] ?? null]));
  return { loss, sources, seconds: (performance.now() - startedMs) / 1000 };
}

/** This rank's part of a set. Sums are doubles, rounded to float32 once, when they enter the ring. */
async function sumOfSet({ evaluate, group, signal }: HeldOutOptions, set: HeldOutSet): Promise<LossSum> {
  let [lossSum, lossTokens, index] = [0, 0, 0];
  for await (const microbatch of set.microbatches(group.rank, group.worldSize)) {
    if (signal.aborted) throw new WeftError('cancelled', 'the evaluation was cancelled');
    const part = await evaluate(microbatch, index++);
    lossSum += part.lossSum;
    lossTokens += part.lossTokens;
  }
  return { lossSum, lossTokens };
}

/**
 * How many microbatches all ranks together evaluate. It follows from the configuration, so that expert workers know
 * when an evaluation is over.
 */
export function heldOutMicrobatchCount(config: RunConfig, worldSize: number): number {
  const { data, evaluation, microbatchSize } = config;
  const sources = Object.values<number>(data.weights).filter((weight) => weight > 0).length;
  const ranks = Array.from({ length: worldSize }, (_, rank) =>
    heldOutBatchCount({ heldOut: evaluation.sequencesPerSource, microbatchSize, rank, worldSize }),
  );
  return sources * ranks.reduce((sum, each) => sum + each, 0);
}
