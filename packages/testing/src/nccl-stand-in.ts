import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * Compiles, with the C compiler of the host, the stand-in for NCCL and the CUDA runtime that `nccl-stand-in.c` describes: ranks
 * on one machine, whose device memory is their processes' own.
 * @returns its path, to be named as both libraries
 */
export function ncclStandIn(directory: string): string {
  const path = join(directory, 'libnccl-stand-in.so');
  const source = fileURLToPath(new URL('nccl-stand-in.c', import.meta.url));
  const flags = ['-O2', '-Wall', '-Wextra', '-Werror', '-shared', '-fPIC'];
  execFileSync('cc', [...flags, '-o', path, source, '-lpthread', '-lrt']);
  return path;
}

/** What lets the processes of a run find it. */
export function standInEnvironment(path: string): Record<'WEFT_NCCL_LIBRARY' | 'WEFT_CUDA_RUNTIME', string> {
  return { WEFT_NCCL_LIBRARY: path, WEFT_CUDA_RUNTIME: path };
}
