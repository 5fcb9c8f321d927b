import type { ProcessGroup } from '@weft/collectives';
import type { HostTensor, PhaseRun } from '@weft/engine';
import type { GradientBucket } from './gradient-buckets.js';

export type Buckets = Record<string, HostTensor>;

/**
 * Takes the buckets of a backward pass under way, in the order in which they are computed, and all-reduces each in
 * place while the later ones are still being computed.
 *
 * @param onComputed told when the last bucket is computed; what is left then is communication that nothing hides.
 * @throws WeftError `unavailable` or `cancelled` when the ring breaks; nothing of the run is left behind.
 */
export async function reduceGradients(
  run: PhaseRun,
  buckets: readonly GradientBucket[],
  group: ProcessGroup,
  onComputed: () => void,
): Promise<Buckets> {
  const taken: Buckets = {};
  const reductions: Promise<void>[] = [];
  const broken = new AbortController();
  try {
    for (const { name } of buckets) {
      Object.assign(taken, await run.advance({}, [name]));
      broken.signal.throwIfAborted();
      const reduction = group.allReduceSum(taken[name]?.data as Float32Array);
      reduction.catch((reason: unknown) => broken.abort(reason));
      reductions.push(reduction);
    }
    onComputed();
    await Promise.all(reductions);
    return taken;
  } catch (thrown) {
    await Promise.allSettled([...reductions, run.abandon()]);
    release(taken);
    throw thrown;
  }
}

export function release(tensors: Buckets): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}
