import type { ProcessGroup } from '@weft/collectives';
import type { TaskParameter } from '@weft/tasks';
import {
  elementCount,
  type HostTensor,
  itemAt,
  type LogicalAxes,
  type PhaseContext,
  type PhaseRun,
  required,
  type TensorSpec,
  tf,
} from '@weft/tensor';
import { disposeAll, floatsOf } from './host-tensors.js';

/** The gradients of several parameters, one after another in one flat array, so that one all-reduce serves them all. */
export interface GradientBucket {
  /** `bucket/0`, `bucket/1`, …: an output of the phases that compute gradients, an input of those that use them. */
  readonly name: string;
  readonly entries: readonly BucketEntry[];
  /** Elements of the gradients alone. */
  readonly gradientLength: number;
  /** Bucket 0 is longer than its gradients: it ends in the totals of the step. */
  readonly length: number;
  /** Whether it is one gradient in the shape of its parameter; otherwise it is flat. */
  readonly isSeparate: boolean;
  readonly shape: readonly number[];
  /** Of a separate one those of its parameter, so that a mesh cuts both in the same way. */
  readonly axes: LogicalAxes | undefined;
}

/**
 * How gradients lie in buckets: `joined` fills flat buckets, for a ring that likes large messages; `separate` gives every
 * gradient a bucket in its own shape, which a mesh can cut, and the totals one of their own in front.
 */
export type BucketLayout = 'joined' | 'separate';

/** A parameter whose gradient lies in a bucket. */
export interface BucketEntry {
  readonly name: string;
  readonly shape: readonly number[];
  /** First element of the gradient inside the bucket. */
  readonly offset: number;
}

/** Buckets on the host, by name. */
export type HostBuckets = Record<string, HostTensor>;

/** The end of bucket 0: two scalars, then the statistics of the task. All are sums, so they are reduced with the rest. */
interface BucketTotals {
  readonly lossSum: tf.Tensor;
  readonly lossTokens: tf.Tensor;
  readonly stats: tf.Tensor | undefined;
}

const SCALAR_TOTALS = 2;
const DEFAULT_BUCKET_BYTES = 16 * 2 ** 20;

/**
 * Fills buckets with whole parameters, last parameter first: the backward pass computes gradients in about that order,
 * so the first bucket can enter the ring while most of the pass is still to come. A parameter larger than a bucket
 * has one of its own.
 * @param statsLength elements of the task's statistics
 */
export function gradientBuckets(
  parameters: readonly Pick<TaskParameter, 'name' | 'shape'>[],
  statsLength = 0,
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
    const totals = index === 0 ? SCALAR_TOTALS + statsLength : 0;
    const length = gradientLength + totals;
    return {
      name: `bucket/${index}`,
      entries,
      gradientLength,
      length,
      shape: [length],
      axes: undefined,
      isSeparate: false,
    };
  });
}

/** Every gradient by itself, in the same order, and the totals in front. */
export function separateBuckets(
  parameters: readonly Pick<TaskParameter, 'name' | 'shape' | 'axes'>[],
  statsLength = 0,
): readonly GradientBucket[] {
  const length = SCALAR_TOTALS + statsLength;
  const totals = {
    name: 'bucket/0',
    entries: [],
    gradientLength: 0,
    length,
    shape: [length],
    axes: undefined,
    isSeparate: false,
  };
  const gradients = parameters.toReversed().map(({ name, shape, axes }, index): GradientBucket => {
    const length = elementCount(shape);
    const entries = [{ name, shape, offset: 0 }];
    return { name: `bucket/${index + 1}`, entries, gradientLength: length, length, shape, axes, isSeparate: true };
  });
  return [totals, ...gradients];
}

/** The buckets as inputs of a phase. */
export function bucketInputs(buckets: readonly GradientBucket[]): Readonly<Record<string, TensorSpec>> {
  return Object.fromEntries(buckets.map(({ name, shape, axes }) => [name, { shape, dtype: 'float32', axes }]));
}

/** Lays gradients and totals into buckets, as outputs of a phase. */
export function packBuckets(
  buckets: readonly GradientBucket[],
  gradient: (name: string) => tf.Tensor,
  { lossSum, lossTokens, stats }: BucketTotals,
): Record<string, tf.Tensor> {
  const totals = stats === undefined ? [lossSum, lossTokens] : [lossSum, lossTokens, stats];
  const packed = buckets.map((bucket, index) => {
    const [first] = bucket.entries;
    if (first !== undefined && bucket.isSeparate) return [bucket.name, gradient(first.name)] as const;
    const gradients = bucket.entries.map((entry) => tf.reshape(gradient(entry.name), [-1]));
    return [bucket.name, tf.concat([...gradients, ...(index === 0 ? totals : [])])] as const;
  });
  return Object.fromEntries(packed);
}

/** Reads the totals of a step from the buckets that are a phase's inputs. */
export function unpackTotals(context: PhaseContext, buckets: readonly GradientBucket[]): BucketTotals {
  const bucket = itemAt(buckets, 0);
  const flat = context.input(bucket.name);
  const at = (offset: number) => tf.reshape(tf.slice(flat, [bucket.gradientLength + offset], [1]), []);
  const statsAt = bucket.gradientLength + SCALAR_TOTALS;
  const stats = bucket.length > statsAt ? tf.slice(flat, [statsAt], [bucket.length - statsAt]) : undefined;
  return { lossSum: at(0), lossTokens: at(1), stats };
}

/** The gradients of a bucket that is a phase's input, as one tensor. */
export function joinedGradients(context: PhaseContext, bucket: GradientBucket): tf.Tensor {
  if (bucket.isSeparate) return context.input(bucket.name);
  return tf.slice(context.input(bucket.name), [0], [bucket.gradientLength]);
}

/** Finds single gradients in buckets that are a phase's inputs. */
export function unpackGradients(
  context: PhaseContext,
  buckets: readonly GradientBucket[],
): (parameter: string) => tf.Tensor {
  const locations = new Map(
    buckets.flatMap((bucket) => bucket.entries.map((entry) => [entry.name, { bucket, entry }] as const)),
  );
  return (parameter) => {
    const { bucket, entry } = required(locations, parameter);
    if (bucket.isSeparate) return context.input(bucket.name);
    const flat = tf.slice(context.input(bucket.name), [entry.offset], [elementCount(entry.shape)]);
    return tf.reshape(flat, [...entry.shape]);
  };
}

/**
 * Fetches the buckets of a backward pass under way, in the order in which they are computed, and all-reduces each in
 * place while later ones are still being computed.
 *
 * @param onComputed called when the last bucket is computed: what is left then is communication that nothing hides.
 * @throws WeftError `unavailable` or `cancelled` when the ring breaks; the run is then abandoned.
 */
export async function reduceGradients(
  run: PhaseRun,
  buckets: readonly GradientBucket[],
  group: ProcessGroup,
  onComputed: () => void,
): Promise<HostBuckets> {
  const fetched: HostBuckets = {};
  const reductions: Promise<void>[] = [];
  const broken = new AbortController();
  try {
    for (const { name } of buckets) {
      Object.assign(fetched, await run.advance({}, [name]));
      broken.signal.throwIfAborted();
      const reduction = group.allReduceSum(floatsOf(fetched, name));
      reduction.catch((reason: unknown) => broken.abort(reason));
      reductions.push(reduction);
    }
    onComputed();
    await Promise.all(reductions);
    return fetched;
  } catch (thrown) {
    await Promise.allSettled([...reductions, run.abandon()]);
    disposeAll(fetched);
    throw thrown;
  }
}
