import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { makeDirectory, writeFileAtomically } from '@weft/files';
import type { Client } from '../native/client.js';
import type { CompileOptions } from '../native/compile-options.js';
import type { Executable } from '../native/executable.js';

/** Compiled programs on disk, each under a hash of all that it depends on. The folder may be emptied at any time. */
export class ExecutableCache {
  readonly #directory: string;
  readonly #client: Client;
  readonly #options: CompileOptions;

  constructor(client: Client, options: CompileOptions, directory: string) {
    this.#client = client;
    this.#options = options;
    this.#directory = directory;
  }

  /** Loads what was compiled before, or compiles it and keeps it. */
  async compile(stablehlo: string): Promise<Executable> {
    const path = join(this.#directory, this.#keyOf(stablehlo));
    try {
      return await this.#client.load(await readFile(path));
    } catch {
      // Not compiled yet, or by a version of the plugin that writes otherwise.
    }
    const executable = await this.#client.compile(stablehlo, this.#options);
    try {
      await makeDirectory(this.#directory);
      await writeFileAtomically(path, executable.serialize());
    } catch {
      // A full disk, or a plugin that cannot serialize: the next start compiles again.
    }
    return executable;
  }

  #keyOf(stablehlo: string): string {
    const { platform, platformVersion, plugin, firstDevice } = this.#client;
    // Code for a CPU uses whatever that CPU has.
    const processor = platform === 'cpu' ? cpus()[0]?.model : undefined;
    const made = [
      plugin.apiVersion,
      plugin.attributes(),
      plugin.path,
      platform,
      platformVersion,
      firstDevice.kind,
      processor,
    ];
    return createHash('sha256')
      .update(JSON.stringify([made, this.#options]))
      .update(stablehlo)
      .digest('hex');
  }
}
