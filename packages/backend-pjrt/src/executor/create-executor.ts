import { basename, join } from 'node:path';
import { WeftError } from '@weft/common';
import { cacheDirectory } from '@weft/native-setup';
import type { Program } from '@weft/tensor';
import { checkMesh, deviceCount } from '../mesh/mesh.js';
import { Client, type ClientOptions } from '../native/client.js';
import { clientOptionsOf } from '../native/client-options.js';
import { loadPlugin } from '../native/plugin.js';
import { cudaDirectoryBeside, findPlugin } from '../setup/plugin.js';
import { ExecutableCache } from './executable-cache.js';
import { PjrtExecutor, type PjrtExecutorOptions } from './pjrt-executor.js';

export interface PjrtOptions extends PjrtExecutorOptions {
  /** The plugin's file; default: the one that `findPlugin` finds. */
  readonly pluginPath?: string;
  /** Where compiled programs are kept; default: a folder of Weft's cache. */
  readonly executables?: string;
  /** Cores that may compile at a time; default: all. */
  readonly cores?: number;
  /** Settings of the plugin's client, by its own names; they win over the environment's (`clientOptionsOf`). */
  readonly clientOptions?: ClientOptions;
}

/**
 * Prepares a program for running on this host's accelerator. The device is opened and phases compile when they are first
 * needed.
 * @throws WeftError `native_library` when there is no plugin, or it cannot be loaded
 */
export function createPjrtExecutor(program: Program, options: PjrtOptions): PjrtExecutor {
  const path = options.pluginPath ?? foundPath();
  const plugin = loadPlugin(path);
  const description = `XLA through ${basename(path)} (PJRT ${plugin.apiVersion}), ${options.precision}`;
  return new PjrtExecutor(program, description, options, async (meshFor) => {
    const client = await Client.open(plugin, { ...clientOptionsOf(path, process.env), ...options.clientOptions });
    const mesh = meshFor(client);
    checkMesh(mesh, client.devices.length);
    const compileOptions = {
      cudaDirectory: client.platform === 'cpu' ? undefined : cudaDirectoryBeside(path),
      partitions: deviceCount(mesh),
    };
    const directory = options.executables ?? join(cacheDirectory(), 'pjrt', 'executables');
    return {
      client,
      mesh,
      cache: new ExecutableCache({ client, options: compileOptions, directory, cores: options.cores }),
    };
  });
}

function foundPath(): string {
  const found = findPlugin();
  if (!found.found) throw new WeftError('native_library', found.reason, { hint: found.hint });
  return found.path;
}
