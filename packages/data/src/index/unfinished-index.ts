import { mkdir, readdir, readFile, rm, stat, utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WeftError } from '@weft/common';
import { isMissing, makeDirectory, ProcessLock, readJsonFile, writeJsonFile } from '@weft/files';
import { parsePart, type ShardPart } from './shard-part.js';

/** Of a folder of parts; another version begins anew. */
const PARTS_VERSION = 2;
/** Parts that nobody goes on with are removed. */
const ABANDONED_AFTER_MS = 7 * 24 * 3600 * 1000;
const PARTS = /\.parts$/;

/**
 * The parts of an index that is being made, in a hidden folder beside it. Of a process that was killed they stay, and the
 * next one goes on with those that are complete.
 */
export class UnfinishedIndex {
  readonly folder: string;
  /** Complete parts of former processes, by dataset and name of their shards. */
  readonly found: ReadonlyMap<string, ShardPart>;
  /** The number of the next part file. */
  readonly nextFile: number;
  readonly #lock: ProcessLock;

  /**
   * @param index the folder of the finished index
   * @param madeWith all that parts depend on beside their shards; parts that were made with something else are removed
   * @throws WeftError `failed_precondition` when another process makes the same index
   */
  static async open(index: string, madeWith: unknown): Promise<UnfinishedIndex> {
    const parent = dirname(index);
    await makeDirectory(parent);
    const folder = join(parent, `.${basename(index)}.parts`);
    const lock = await ProcessLock.acquire(`${folder}.lock`, `the index ${index}`);
    try {
      await removeAbandoned(parent, folder);
      const wanted = JSON.parse(JSON.stringify({ version: PARTS_VERSION, madeWith })) as unknown;
      const known = await readJsonFile(join(folder, 'made-with.json')).catch(() => undefined);
      if (JSON.stringify(known) !== JSON.stringify(wanted)) {
        await rm(folder, { recursive: true, force: true });
        await mkdir(folder);
        await writeJsonFile(join(folder, 'made-with.json'), wanted);
      }
      await utimes(folder, new Date(), new Date());
      return new UnfinishedIndex(folder, lock, await readJournals(folder));
    } catch (thrown) {
      await lock.release();
      throw thrown;
    }
  }

  private constructor(
    folder: string,
    lock: ProcessLock,
    { parts, files }: { readonly parts: ReadonlyMap<string, ShardPart>; readonly files: number },
  ) {
    this.folder = folder;
    this.#lock = lock;
    this.found = parts;
    this.nextFile = files;
  }

  /** Removes the parts: the index is complete. */
  async remove(): Promise<void> {
    // A process whose parent was killed may still end its last shard.
    await rm(this.folder, { recursive: true, force: true, maxRetries: 3 });
  }

  async close(): Promise<void> {
    await this.#lock.release();
  }
}

export const partKey = (source: string, name: string) => `${source}/${name}`;

async function readJournals(folder: string) {
  const parts = new Map<string, ShardPart>();
  let files = 0;
  for (const name of (await readdir(folder)).sort()) {
    const number = /^part-(\d+)\.(bin|jsonl)$/.exec(name)?.[1];
    if (number === undefined) continue;
    files = Math.max(files, Number(number) + 1);
    if (!name.endsWith('.jsonl')) continue;
    for (const line of (await readFile(join(folder, name), 'utf8')).split('\n')) {
      const part = parsePart(line);
      if (part !== undefined) parts.set(partKey(part.source, part.name), part);
    }
  }
  return { parts, files };
}

async function removeAbandoned(parent: string, own: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const path = join(parent, name);
    if (!name.startsWith('.') || !PARTS.test(name) || path === own) continue;
    const found = await stat(path).catch((thrown: unknown) => {
      if (isMissing(thrown)) return undefined;
      throw WeftError.from(thrown);
    });
    if (found !== undefined && Date.now() - found.mtimeMs > ABANDONED_AFTER_MS)
      await rm(path, { recursive: true, force: true });
  }
}
