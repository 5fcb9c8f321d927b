import { availableParallelism } from 'node:os';
import type { describeNativeLibrary } from '@weft/backend-tensorflow';

/** What the engine will run on, in a few words for people. */
export function describeDevice(
  library: ReturnType<typeof describeNativeLibrary>,
  visibleGpus: string | undefined,
  threads: number | undefined,
): string {
  const cores = threads ?? availableParallelism();
  const cpu = `cpu, ${cores} ${threads === undefined ? 'core' : 'thread'}${cores === 1 ? '' : 's'}`;
  if (!library.found) return `${cpu}, JavaScript`;
  const engine = library.version === null ? 'TensorFlow' : `TensorFlow ${library.version}`;
  const isOnGpu = visibleGpus !== undefined && visibleGpus !== '' && visibleGpus !== '-1';
  return `${isOnGpu ? `gpu ${visibleGpus}` : cpu}, ${engine}`;
}
