import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const TIMEOUT_MS = 10_000;

/** The GPUs a worker may be given: those that `CUDA_VISIBLE_DEVICES` leaves, otherwise all that nvidia-smi lists. */
export async function visibleGpus(env: Readonly<Record<string, string | undefined>>): Promise<string[]> {
  if (env.CUDA_VISIBLE_DEVICES !== undefined) return namedGpus(env.CUDA_VISIBLE_DEVICES);
  try {
    const { stdout } = await promisify(execFile)('nvidia-smi', ['--query-gpu=index', '--format=csv,noheader'], {
      timeout: TIMEOUT_MS,
    });
    return stdout.split('\n').flatMap((line) => (/^\d+$/.test(line.trim()) ? [line.trim()] : []));
  } catch {
    return [];
  }
}

/** CUDA ignores everything from the first invalid name on; `-1` is the usual way to say none. */
export function namedGpus(list: string): string[] {
  const names = list.split(',').map((name) => name.trim());
  const firstInvalid = names.findIndex((name) => name === '' || name === '-1');
  return firstInvalid === -1 ? names : names.slice(0, firstInvalid);
}

/** One GPU per worker, shared in turn when there are more workers than GPUs; nothing to say where there is none. */
export function gpuArguments(worker: number, gpus: readonly string[]): string[] {
  const gpu = gpus[worker % Math.max(1, gpus.length)];
  return gpu === undefined ? [] : ['--gpus', gpu];
}
