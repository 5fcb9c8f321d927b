import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { WeftError } from '@weft/common';
import type { NcclFiles } from './library.js';

interface NcclSearch {
  /** `WEFT_NCCL_LIBRARY`, and `WEFT_CUDA_RUNTIME` where the runtime lies elsewhere than beside it. */
  readonly environment?: NodeJS.ProcessEnv;
  /** The file of the plugin in use: the libraries that it loads itself are the ones to take. */
  readonly plugin?: string | undefined;
}

const NAMES = [
  { collectives: 'libnccl.so.2', runtimes: ['libcudart.so.13', 'libcudart.so.12'] },
  { collectives: 'librccl.so.1', runtimes: ['libamdhip64.so.7', 'libamdhip64.so.6', 'libamdhip64.so'] },
] as const;

/** Where ROCm and the packages of distributions put them. */
const SYSTEM_FOLDERS = ['/opt/rocm/lib', '/usr/lib/x86_64-linux-gnu', '/usr/lib64', '/usr/local/cuda/lib64'];

/**
 * Finds the libraries without loading them: those that a person named, those beside the plugin in the layout of Python's
 * packages, those of the system.
 * @throws WeftError `native_library` when a variable names no file
 */
export function findNccl({ environment = process.env, plugin }: NcclSearch = {}): NcclFiles | undefined {
  const { WEFT_NCCL_LIBRARY: named, WEFT_CUDA_RUNTIME: runtime } = environment;
  if (named) return namedFiles(named, runtime);
  const beside = plugin === undefined ? [] : packageFolders(plugin);
  const folders = [...beside, ...SYSTEM_FOLDERS];
  for (const { collectives, runtimes } of NAMES) {
    const library = firstOf(folders, [collectives]);
    const found = library === undefined ? undefined : firstOf(folders, runtimes);
    if (library !== undefined && found !== undefined) return { collectives: library, runtime: found };
  }
  return undefined;
}

function namedFiles(library: string, runtime: string | undefined): NcclFiles {
  const collectives = existing('WEFT_NCCL_LIBRARY', library);
  if (runtime) return { collectives, runtime: existing('WEFT_CUDA_RUNTIME', runtime) };
  const beside = firstOf(
    [dirname(collectives), ...SYSTEM_FOLDERS],
    NAMES.flatMap(({ runtimes }) => runtimes),
  );
  if (beside !== undefined) return { collectives, runtime: beside };
  throw new WeftError('native_library', `WEFT_NCCL_LIBRARY is ${library}, but no CUDA or HIP runtime lies beside it`, {
    hint: 'set WEFT_CUDA_RUNTIME to libcudart.so or libamdhip64.so',
  });
}

function existing(variable: string, file: string): string {
  if (existsSync(file)) return resolve(file);
  throw new WeftError('native_library', `${variable} is ${file}, where there is no file`, {
    hint: 'set it to the shared library, or unset it',
  });
}

/** The folders of NVIDIA's wheels beside a plugin's own: CUDA 13 has one for all, CUDA 12 one for each part. */
function packageFolders(plugin: string): string[] {
  const packages = join(dirname(plugin), '..', '..', 'nvidia');
  return ['nccl', 'cu13', 'cuda_runtime'].map((part) => resolve(packages, part, 'lib'));
}

function firstOf(folders: readonly string[], names: readonly string[]): string | undefined {
  return folders.flatMap((folder) => names.map((name) => join(folder, name))).find((file) => existsSync(file));
}
