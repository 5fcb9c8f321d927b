import { statSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { cudaDirectoryBeside, findPlugin, installPlugin, type PluginSearch } from './plugin.js';
import { PINS } from './wheels.js';

/** NVIDIA's plugin with what it needs to compile: no driver, no GPU. */
export interface Compiler {
  /** Of the plugin. */
  readonly path: string;
  /** With `nvvm/libdevice` and `bin/ptxas`. */
  readonly cudaDirectory: string;
}

/** What has to be fetched for compiling, in bytes. */
export const COMPILER_DOWNLOAD_BYTES = PINS.compiler.wheels.reduce((sum, { bytes }) => sum + bytes, 0);

/** Finds it without downloading anything: a plugin that a person named, one of Python's packages, or Weft's cache. */
export function findCompiler(search: Pick<PluginSearch, 'environment'> = {}): Compiler | undefined {
  for (const platform of ['cuda', 'cuda12', 'compiler'] as const) {
    const found = findPlugin({ ...search, platform });
    const compiler = found.found ? compilerAt(found.path) : undefined;
    if (compiler !== undefined) return compiler;
  }
  return undefined;
}

/** Finds it, or fetches it into the cache. @throws WeftError `native_library` when there is no way to it */
export async function installCompiler(search: Omit<PluginSearch, 'platform'> = {}): Promise<Compiler> {
  const known = findCompiler(search);
  if (known !== undefined) return known;
  const { path } = await installPlugin({ ...search, platform: 'compiler' });
  const compiler = compilerAt(path);
  if (compiler !== undefined) return compiler;
  throw new WeftError('native_library', `beside ${path} there is no folder of NVIDIA's with libdevice and ptxas`, {
    hint: 'unset WEFT_PJRT_PLUGIN, or install nvidia-nvvm and nvidia-cuda-nvcc beside that plugin',
  });
}

function compilerAt(path: string): Compiler | undefined {
  const cudaDirectory = cudaDirectoryBeside(path);
  if (cudaDirectory === undefined) return undefined;
  const needed = ['nvvm/libdevice/libdevice.10.bc', 'bin/ptxas'];
  const hasAll = needed.every((name) => statSync(join(cudaDirectory, name), { throwIfNoEntry: false }) !== undefined);
  return hasAll ? { path, cudaDirectory } : undefined;
}
