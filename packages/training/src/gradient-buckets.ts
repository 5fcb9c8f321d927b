import { elementCount } from '@weft/engine';

/** A parameter whose gradient lies in a bucket. */
export interface BucketEntry {
  readonly name: string;
  readonly shape: readonly number[];
  /** First element of the gradient inside the bucket. */
  readonly offset: number;
}

/** Gradients laid out one after another in one flat array, so that they are reduced in one go. */
export interface GradientBucket {
  /** `bucket/0`, `bucket/1`, …: outputs of the gradient phase and inputs of the apply phase. */
  readonly name: string;
  readonly entries: readonly BucketEntry[];
  /** Elements of the gradients; bucket 0 holds more, the totals of the step. */
  readonly gradientLength: number;
  readonly length: number;
}

/** What bucket 0 keeps behind its gradients: these totals of the step, then the signals of MoE layers. */
export const TOTALS = ['lossSum', 'lossTokens'] as const;

const DEFAULT_BUCKET_BYTES = 16 * 2 ** 20;

/**
 * Fills buckets with whole parameters, last parameter first: the backward pass computes them in about that order, so
 * that the first bucket is full, and can leave, while most of the pass is still to come. A parameter larger than a
 * bucket has one of its own.
 * @param signals elements of MoE signals; 0 for a dense model
 */
export function gradientBuckets(
  parameters: readonly { readonly name: string; readonly shape: readonly number[] }[],
  signals = 0,
  bucketBytes = DEFAULT_BUCKET_BYTES,
): readonly GradientBucket[] {
  const groups: BucketEntry[][] = [[]];
  let filled = 0;
  for (const { name, shape } of parameters.toReversed()) {
    const length = elementCount(shape);
    if (filled > 0 && (filled + length) * Float32Array.BYTES_PER_ELEMENT > bucketBytes) {
      groups.push([]);
      filled = 0;
    }
    groups.at(-1)?.push({ name, shape, offset: filled });
    filled += length;
  }
  return groups.map((entries, index) => {
    const last = entries.at(-1);
    const gradientLength = last === undefined ? 0 : last.offset + elementCount(last.shape);
    return {
      name: `bucket/${index}`,
      entries,
      gradientLength,
      length: gradientLength + (index === 0 ? TOTALS.length + signals : 0),
    };
  });
}
