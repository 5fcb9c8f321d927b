import { median } from '@weft/common';

/**
 * How many times faster ours is than theirs: the median over the rounds of the ratio of the two medians within each
 * round. What slows the machine down for a whole round slows both and cancels.
 * @param ours seconds of our steps, by round
 * @param theirs seconds of their steps, by round
 */
export function pairedSpeedup(
  ours: readonly (readonly number[])[],
  theirs: readonly (readonly number[])[],
): { readonly median: number; readonly lowest: number; readonly highest: number } {
  const ratios = ours.map((seconds, round) => median(theirs[round] ?? []) / median(seconds));
  return { median: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) };
}
