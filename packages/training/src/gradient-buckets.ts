import { createHash } from 'node:crypto';
import type { DeviceGroup, ProcessGroup } from '@weft/collectives';
import { SerialQueue } from '@weft/common';
import type { TaskParameter } from '@weft/tasks';
import {
  cut,
  type Executor,
  elementCount,
  type HostTensor,
  itemAt,
  type LogicalAxes,
  type PhaseContext,
  type PhaseRun,
  paste,
  type ResidentPart,
  type ResidentTensor,
  required,
  type TensorSpec,
  tf,
  wholeBox,
} from '@weft/tensor';
import { disposeAll, float32Of } from './host-tensors.js';
import { noSpans, type SpanNotes } from './ports.js';

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

/** Buckets where the engine keeps them, by name. */
export type Buckets = Record<string, ResidentTensor>;

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

/** How buckets go around the ring. */
export interface Reduction {
  readonly buckets: readonly GradientBucket[];
  readonly group: ProcessGroup;
  /** Whether every rank holds buckets in the same parts; otherwise they are joined on the way. */
  readonly sameParts: boolean;
  /** Sums in the memory of the devices, where every rank can; default: the ring does. */
  readonly devices?: Pick<DeviceGroup, 'allReduceSum'> | undefined;
  /** Default: nothing is noted. */
  readonly spans?: SpanNotes | undefined;
}

/** To be asked by all ranks at once: whether their engines, which may have other devices, hold buckets in the same parts. */
export async function haveSameParts(
  executor: Pick<Executor, 'boxesOf'>,
  buckets: readonly GradientBucket[],
  group: ProcessGroup,
): Promise<boolean> {
  if (group.worldSize === 1) return true;
  const specs = Object.values(bucketInputs(buckets));
  const boxes = await Promise.all(specs.map((spec) => executor.boxesOf(spec)));
  const own = createHash('sha256').update(JSON.stringify(boxes)).digest();
  const all = await group.allGather(own);
  return all.every((each) => own.equals(each));
}

/** What waits on the host for the ring, or for its way back, takes up to so many bytes. */
const STAGED_BYTES = 256 * 2 ** 20;

/**
 * Takes the buckets of a backward pass under way, in the order in which they are computed, and all-reduces each while
 * later ones are still being computed. Buckets stay where the engine keeps them: every part, the shard of a device, goes
 * around the ring by itself and back into its place. Of a group of one rank nothing is moved.
 *
 * @param onComputed called when the last bucket is on its way: what is left then is communication that nothing hides.
 * @throws WeftError `unavailable` or `cancelled` when the ring breaks; the run is then abandoned.
 */
export async function reduceGradients(
  run: PhaseRun,
  { buckets, group, sameParts, devices, spans = noSpans }: Reduction,
  onComputed: () => void,
): Promise<Buckets> {
  const kept: Buckets = {};
  const ring = new BucketReducer(group, devices, spans);
  try {
    for (const { name } of buckets) {
      const beganMs = performance.now();
      const taken = await run.keep({}, [name]);
      spans.add('buckets', `compute ${name}`, beganMs);
      Object.assign(kept, taken);
      ring.throwIfBroken();
      const bucket = taken[name];
      if (group.worldSize === 1 || bucket === undefined) continue;
      if (sameParts && devices !== undefined && bucket.lend !== undefined) {
        ring.addInPlace(name, bucket);
        continue;
      }
      for (const part of sameParts ? bucket.parts : [joined(bucket)]) await ring.add(name, part);
    }
    onComputed();
    await ring.done();
    return kept;
  } catch (thrown) {
    await Promise.allSettled([ring.settled(), run.abandon()]);
    disposeAll(kept);
    throw thrown;
  }
}

/** Sums buckets or their parts over all ranks, in the order in which they come: all ranks must have the same. */
class BucketReducer {
  readonly #group: ProcessGroup;
  readonly #devices: Reduction['devices'];
  readonly #spans: SpanNotes;
  /** One goes around the ring after the other. */
  #lastEndMs = 0;
  readonly #inPlace = new SerialQueue();
  readonly #broken = new AbortController();
  readonly #reductions: Promise<void>[] = [];
  /** Those of copies, which take memory on the host until they are over. */
  readonly #staged: { readonly bytes: number; readonly over: Promise<void> }[] = [];
  #stagedBytes = 0;

  constructor(group: ProcessGroup, devices: Reduction['devices'], spans: SpanNotes) {
    this.#group = group;
    this.#devices = devices;
    this.#spans = spans;
  }

  throwIfBroken(): void {
    this.#broken.signal.throwIfAborted();
  }

  /** Resolves when the part is in the queue of the ring. */
  async add(name: string, part: ResidentPart): Promise<void> {
    while (this.#stagedBytes > 0 && this.#stagedBytes + part.hostBytes > STAGED_BYTES) {
      const oldest = this.#staged.shift();
      if (oldest === undefined) break;
      await oldest.over;
      this.#stagedBytes -= oldest.bytes;
    }
    const values = await part.read();
    this.throwIfBroken();
    const over = this.#reduce(name, part, values);
    this.#watch(over);
    if (part.hostBytes > 0) this.#staged.push({ bytes: part.hostBytes, over });
    this.#stagedBytes += part.hostBytes;
  }

  /** Which bucket is computed first may differ from rank to rank, so each waits for the one before. */
  addInPlace(name: string, bucket: ResidentTensor): void {
    const sum = async () => {
      const beganMs = performance.now();
      await bucket.lend?.(async (memory) => this.#devices?.allReduceSum(name, memory));
      this.#spans.add('ring', name, beganMs, { elements: elementCount(bucket.spec.shape) });
    };
    this.#watch(this.#inPlace.run(sum));
  }

  /** @throws what the ring met */
  async done(): Promise<void> {
    await Promise.all(this.#reductions);
  }

  async settled(): Promise<void> {
    await Promise.allSettled(this.#reductions);
  }

  #watch(reduction: Promise<void>): void {
    reduction.catch((reason: unknown) => this.#broken.abort(reason));
    this.#reductions.push(reduction);
  }

  async #reduce(name: string, part: ResidentPart, values: HostTensor): Promise<void> {
    const queuedMs = performance.now();
    try {
      await this.#group.allReduceSum(float32Of(values, 'a bucket'));
      this.#spans.add('ring', name, Math.max(queuedMs, this.#lastEndMs), { elements: values.data.length });
      this.#lastEndMs = performance.now();
      await part.write(values);
    } finally {
      values.dispose();
    }
  }
}

/** A bucket as one part, which is put together when it is read and cut again when it is written. */
function joined({ spec, parts }: ResidentTensor): ResidentPart {
  const { shape } = spec;
  return {
    box: wholeBox(shape),
    hostBytes: parts.reduce((sum, { hostBytes }) => sum + hostBytes, 0),
    read: async () => {
      const data = new Float32Array(elementCount(shape));
      for (const part of parts) {
        const shard = await part.read();
        paste(data, shape, part.box, float32Of(shard, 'a bucket'));
        shard.dispose();
      }
      return { spec, data, dispose: () => {} };
    },
    write: async ({ data }) => {
      for (const part of parts) {
        const shard = { shape: part.box.size, dtype: spec.dtype };
        await part.write({ spec: shard, data: cut(data, shape, part.box), dispose: () => {} });
      }
    },
  };
}
