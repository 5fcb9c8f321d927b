import { createHash } from 'node:crypto';
import { readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { makeDirectory, writeFileAtomically } from '@weft/files';
import pLimit from 'p-limit';
import type { Client } from '../native/client.js';
import type { CompileOptions } from '../native/compile-options.js';
import type { Executable } from '../native/executable.js';

/** How much is kept. */
export interface CacheLimits {
  /** Of all programs together. The ones used longest ago go first. */
  readonly bytes: number;
  /** Since its last use, a program is kept this long. */
  readonly ageMs: number;
}

const LIMITS: CacheLimits = { bytes: 8 * 2 ** 30, ageMs: 30 * 86_400_000 };

export interface ExecutableCacheOptions {
  readonly client: Pick<Client, 'compile' | 'load' | 'platform' | 'platformVersion' | 'firstDevice'> & {
    readonly plugin: Pick<Client['plugin'], 'apiVersion' | 'attributes' | 'path'>;
  };
  readonly options: CompileOptions;
  readonly directory: string;
  /** Cores that may compile at a time; default: all. */
  readonly cores?: number | undefined;
  readonly limits?: CacheLimits;
}

/** A program ready to run, and whether it was compiled for that. */
export interface CachedExecutable {
  readonly executable: Executable;
  readonly isNew: boolean;
}

/** Of an entry's head: the SHA-256 of what follows. A plugin may crash on what it did not write. */
const DIGEST_BYTES = 32;
/** A compilation holds one of the four threads for native calls; one of them stays free for runs. */
const MOST_COMPILES = 3;
/** Memory of the host that a large program may take while it is compiled. */
const COMPILE_BYTES = 2 * 2 ** 30;
/** What a process that died left unfinished is older than this. */
const UNFINISHED_MS = 3_600_000;

/**
 * Compiled programs on disk, each under a hash of all that it depends on. Several processes may use the folder, and it may
 * be emptied at any time. What is missing is compiled, as many programs at a time as cores and memory allow.
 */
export class ExecutableCache {
  readonly #options: ExecutableCacheOptions;
  readonly #limits: CacheLimits;
  readonly #compiles: ReturnType<typeof pLimit>;

  constructor(options: ExecutableCacheOptions) {
    const { cores = availableParallelism(), limits = LIMITS } = options;
    this.#options = options;
    this.#limits = limits;
    this.#compiles = pLimit(
      Math.max(1, Math.min(cores, MOST_COMPILES, Math.floor(process.availableMemory() / COMPILE_BYTES))),
    );
  }

  /** Loads what was compiled before, or compiles it and keeps it. */
  async compile(stablehlo: string): Promise<CachedExecutable> {
    const path = join(this.#options.directory, this.#keyOf(stablehlo));
    const loaded = await this.#load(path);
    if (loaded !== undefined) return { executable: loaded, isNew: false };
    const { client, options } = this.#options;
    const executable = await this.#compiles(() => client.compile(stablehlo, options));
    try {
      await this.#keep(path, executable.serialize());
    } catch {
      // A full disk, or a plugin that cannot serialize: the next start compiles again.
    }
    return { executable, isNew: true };
  }

  /** Undefined where there is nothing that this plugin takes; then it is compiled and written again. */
  async #load(path: string): Promise<Executable | undefined> {
    try {
      const entry = await readFile(path);
      const [digest, program] = [entry.subarray(0, DIGEST_BYTES), entry.subarray(DIGEST_BYTES)];
      if (!digestOf(program).equals(digest)) return undefined;
      const executable = await this.#options.client.load(program);
      const now = new Date();
      await utimes(path, now, now).catch(() => {});
      return executable;
    } catch {
      return undefined;
    }
  }

  async #keep(path: string, program: Uint8Array): Promise<void> {
    const { directory } = this.#options;
    await makeDirectory(directory);
    await writeFileAtomically(path, Buffer.concat([digestOf(program), program]));
    await prune(directory, this.#limits);
  }

  #keyOf(stablehlo: string): string {
    const { client, options } = this.#options;
    const { platform, platformVersion, plugin, firstDevice } = client;
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
      .update(JSON.stringify([made, options]))
      .update(stablehlo)
      .digest('hex');
  }
}

/** Removes what was not used for long, and what is too much. Another process may do the same at the same time. */
async function prune(directory: string, { bytes, ageMs }: CacheLimits): Promise<void> {
  const found = await Promise.all(
    (await readdir(directory)).map(async (name) => {
      const path = join(directory, name);
      const facts = await stat(path).catch(() => undefined);
      return facts === undefined
        ? []
        : [{ path, size: facts.size, usedMs: facts.mtimeMs, isWhole: /^[\da-f]{64}$/.test(name) }];
    }),
  );
  let kept = 0;
  for (const { path, size, usedMs, isWhole } of found.flat().toSorted((a, b) => b.usedMs - a.usedMs)) {
    const age = Date.now() - usedMs;
    if (isWhole) kept += size;
    // What was used last is kept, however large it is.
    const isTooMuch = isWhole ? age > ageMs || (kept > bytes && kept > size) : age > UNFINISHED_MS;
    if (isTooMuch) await rm(path, { force: true });
  }
}

function digestOf(program: Uint8Array): Buffer {
  return createHash('sha256').update(program).digest();
}
