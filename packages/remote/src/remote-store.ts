import { randomUUID } from 'node:crypto';
import { WeftError } from '@weft/common';
import type { RemoteCounts } from '@weft/contracts';
import type { Blob, BlobRange, BlobStatus, ListedBlob, ShardStore } from '@weft/files';
import { LRUCache } from 'lru-cache';
import pLimit from 'p-limit';
import type { BlockCache, BlockName } from './block-cache.js';
import { changed } from './failures.js';
import type { RemoteSource } from './remote-source.js';
import { type RetryOptions, withRetries } from './with-retries.js';

/** What is asked for at a time, and kept. A server far away sends it in about the time it takes to answer. */
const BLOCK_BYTES = 8 * 2 ** 20;
/** Blocks fetched ahead of somebody who reads a blob from its beginning. */
const BLOCKS_AHEAD = 3;
const CONCURRENT_FETCHES = 8;
/** Of what is announced by `prepare`; those who wait come first. */
const CONCURRENT_PREPARATIONS = 4;
/** Blocks in memory: those that are read from their beginning to their end. */
const BLOCKS_IN_MEMORY = 8;
/** Of blobs whose index does not know their version: so many are asked once, when they are announced. */
const REMEMBERED_STATUSES = 10_000;
/** What is announced may fill this share of the cache, so that it does not push out itself. */
const PREPARED_SHARE = 1 / 4;
/** Pauses between attempts come to no more than this: of a read in training, and of what a person waits for. */
const READ_PATIENCE_MS = 5 * 60_000;
const ASK_PATIENCE_MS = 15_000;

export interface RemoteStoreOptions {
  /** The kind of store that an address names. */
  readonly sourceOf: (path: string) => RemoteSource;
  readonly cache: BlockCache;
  /** Default: `BLOCK_BYTES`. */
  readonly blockBytes?: number;
  /** For tests. */
  readonly retries?: Partial<RetryOptions>;
}

/** Shards at addresses: read in blocks, which are kept in the cache of the host. */
export class RemoteStore implements ShardStore {
  readonly #sourceOf: (path: string) => RemoteSource;
  readonly #cache: BlockCache;
  readonly #blockBytes: number;
  readonly #retries: Partial<RetryOptions>;
  readonly #fetchLimit = pLimit(CONCURRENT_FETCHES);
  readonly #prepareLimit = pLimit(CONCURRENT_PREPARATIONS);
  readonly #fetching = new Map<string, Promise<Uint8Array | undefined>>();
  readonly #recent = new LRUCache<string, Uint8Array>({ max: BLOCKS_IN_MEMORY });
  readonly #statuses = new LRUCache<string, Promise<BlobStatus>>({ max: REMEMBERED_STATUSES });
  #counts = { fetchedBytes: 0, requests: 0, retries: 0, cacheHits: 0, cacheMisses: 0, waitSeconds: 0 };

  constructor({ sourceOf, cache, blockBytes = BLOCK_BYTES, retries = {} }: RemoteStoreOptions) {
    this.#sourceOf = sourceOf;
    this.#cache = cache;
    this.#blockBytes = blockBytes;
    this.#retries = retries;
  }

  get counts(): RemoteCounts {
    return this.#counts;
  }

  async open(path: string, known?: BlobStatus): Promise<Blob> {
    await this.#cache.open();
    const source = this.#sourceOf(path);
    // Without a version nobody would notice bytes of another one, also in the cache.
    const isKnown = known !== undefined && known.version !== null;
    const status = isKnown ? known : await this.#ask(() => source.status(path));
    if (!isKnown) this.#statuses.set(path, Promise.resolve(status));
    if (known !== undefined && status.bytes !== known.bytes) throw changed(path);
    const opened = { ...status, cacheVersion: status.version ?? `none, ${randomUUID()}` };
    return new RemoteBlob(status.bytes, this.#blockBytes, (into, block) => this.#read(path, opened, into, block));
  }

  async status(path: string): Promise<BlobStatus | undefined> {
    try {
      return await this.#ask(() => this.#sourceOf(path).status(path));
    } catch (thrown) {
      if (WeftError.is(thrown, 'not_found')) return undefined;
      throw thrown;
    }
  }

  names(folder: string): Promise<readonly string[]> {
    return this.#ask(() => this.#sourceOf(folder).names(folder));
  }

  async list(folder: string): Promise<readonly ListedBlob[]> {
    const found: ListedBlob[] = [];
    let from: string | undefined;
    // Each page is tried again by itself: of many some fail always.
    do {
      const { blobs, next } = await this.#ask(() => this.#sourceOf(folder).list(folder, from));
      for (const blob of blobs) found.push(blob);
      from = next;
    } while (from !== undefined);
    return found.sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async prepare(ranges: readonly BlobRange[], signal?: AbortSignal): Promise<void> {
    const wanted = new Map<string, () => Promise<unknown>>();
    const most = Math.max(1, Math.floor(this.#cache.capacity(this.#blockBytes) * PREPARED_SHARE));
    await this.#cache.open().catch(() => undefined);
    for (const { path, known, offset, bytes } of ranges) {
      if (known === undefined || bytes === 0) continue;
      const last = Math.floor((offset + bytes - 1) / this.#blockBytes);
      for (let index = Math.floor(offset / this.#blockBytes); index <= last; index++) {
        if (wanted.size < most)
          wanted.set(`${path}\n${index}`, async () => {
            const status = await this.#statusOf(path, known);
            if (status.version === null || status.bytes !== known.bytes) return;
            const opened = { ...status, cacheVersion: status.version };
            await this.#near(path, opened, this.#name(path, opened, index));
          });
      }
    }
    await Promise.all(
      [...wanted.values()].map((near) =>
        // A failure is that of the read which needs the block, if that ever comes.
        this.#prepareLimit(async () => (signal?.aborted ? undefined : await near())).catch(() => undefined),
      ),
    );
  }

  /** What `open` will go by, so that a block has the same name for both. */
  #statusOf(path: string, known: BlobStatus): Promise<BlobStatus> {
    if (known.version !== null) return Promise.resolve(known);
    const asked = this.#statuses.get(path) ?? this.#ask(() => this.#sourceOf(path).status(path));
    this.#statuses.set(path, asked);
    return asked.catch((thrown: unknown) => {
      this.#statuses.delete(path);
      throw thrown;
    });
  }

  /** Fills `into` from one block. */
  async #read(path: string, known: OpenedBlob, into: Uint8Array, { index, offset, isSequential }: BlockRead) {
    const name = this.#name(path, known, index);
    if (isSequential) this.#readAhead(path, known, index);
    if (await this.#readNear(name, into, offset, isSequential)) {
      this.#counts.cacheHits++;
      return;
    }
    const beganMs = performance.now();
    // A full cache may drop it again before it is read.
    for (;;) {
      const content = await this.#near(path, known, name);
      if (content !== undefined) into.set(content.subarray(offset, offset + into.length));
      if (content !== undefined || (await this.#readNear(name, into, offset, isSequential))) break;
    }
    this.#counts.cacheMisses++;
    this.#counts.waitSeconds += (performance.now() - beganMs) / 1000;
  }

  async #readNear(name: BlockName, into: Uint8Array, offset: number, isWhole: boolean): Promise<boolean> {
    const key = keyOf(name);
    let content = this.#recent.get(key);
    if (content === undefined && isWhole) {
      const whole = new Uint8Array(name.bytes);
      if (!(await this.#cache.read(name, whole, 0))) return false;
      this.#recent.set(key, whole);
      content = whole;
    }
    if (content === undefined) return await this.#cache.read(name, into, offset);
    into.set(content.subarray(offset, offset + into.length));
    return true;
  }

  /** Fetches a block unless it is in the cache. @returns its content, where it was fetched here */
  #near(path: string, known: OpenedBlob, name: BlockName): Promise<Uint8Array | undefined> {
    const key = keyOf(name);
    const running = this.#fetching.get(key);
    if (running !== undefined) return running;
    const fetching = this.#fetchInto(path, known, name).finally(() => this.#fetching.delete(key));
    this.#fetching.set(key, fetching);
    return fetching;
  }

  async #fetchInto(path: string, known: OpenedBlob, name: BlockName): Promise<Uint8Array | undefined> {
    const release = await this.#cache.claim(name);
    if (release === undefined) return undefined;
    try {
      const first = name.index * this.#blockBytes;
      const content = await this.#fetchLimit(() =>
        this.#tried(READ_PATIENCE_MS, () =>
          this.#sourceOf(path).fetch(path, { first, end: first + name.bytes }, known),
        ),
      );
      this.#counts.fetchedBytes += content.length;
      if (!(await this.#cache.write(name, content))) this.#recent.set(keyOf(name), content);
      return content;
    } finally {
      await release();
    }
  }

  #readAhead(path: string, known: OpenedBlob, index: number): void {
    const most = Math.min(BLOCKS_AHEAD, Math.floor(this.#cache.capacity(this.#blockBytes) * PREPARED_SHARE));
    const last = Math.ceil(known.bytes / this.#blockBytes) - 1;
    for (let next = index + 1; next <= Math.min(last, index + most); next++) {
      const name = this.#name(path, known, next);
      // A failure is that of the read which comes to this block.
      if (!this.#recent.has(keyOf(name))) this.#near(path, known, name).catch(() => undefined);
    }
  }

  #name(path: string, known: OpenedBlob, index: number): BlockName {
    const first = index * this.#blockBytes;
    return {
      blob: `${this.#sourceOf(path).cacheName(path)}\n${known.cacheVersion}\n${known.bytes}\n${this.#blockBytes}`,
      index,
      bytes: Math.min(this.#blockBytes, known.bytes - first),
    };
  }

  #ask<T>(attempt: () => Promise<T>): Promise<T> {
    return this.#tried(ASK_PATIENCE_MS, attempt);
  }

  #tried<T>(patienceMs: number, attempt: () => Promise<T>): Promise<T> {
    const counted = () => {
      this.#counts.requests++;
      return attempt();
    };
    const onRetry = () => {
      this.#counts.retries++;
    };
    return withRetries(counted, { patienceMs, onRetry, ...this.#retries });
  }
}

const keyOf = ({ blob, index }: BlockName) => `${blob}\n${index}`;

interface OpenedBlob extends BlobStatus {
  /** Its version; where it has none, of this opening alone, for nobody could tell whether what was fetched before is still right. */
  readonly cacheVersion: string;
}

interface BlockRead {
  readonly index: number;
  /** In the block. */
  readonly offset: number;
  /** Whether the blob is read from one block to the next. */
  readonly isSequential: boolean;
}

class RemoteBlob implements Blob {
  readonly bytes: number;
  readonly #blockBytes: number;
  readonly #read: (into: Uint8Array, read: BlockRead) => Promise<void>;
  #lastIndex = Number.NaN;
  #isSequential = false;

  constructor(bytes: number, blockBytes: number, read: (into: Uint8Array, block: BlockRead) => Promise<void>) {
    this.bytes = bytes;
    this.#blockBytes = blockBytes;
    this.#read = read;
  }

  async read(into: Uint8Array, position: number): Promise<void> {
    if (position + into.length > this.bytes)
      throw new WeftError('corrupt_data', `a shard ends at byte ${this.bytes}, in the middle of its data`);
    for (let filled = 0; filled < into.length; ) {
      const index = Math.floor((position + filled) / this.#blockBytes);
      const offset = position + filled - index * this.#blockBytes;
      const part = into.subarray(filled, filled + Math.min(into.length - filled, this.#blockBytes - offset));
      if (index !== this.#lastIndex) this.#isSequential = position === 0 || index === this.#lastIndex + 1;
      this.#lastIndex = index;
      await this.#read(part, { index, offset, isSequential: this.#isSequential });
      filled += part.length;
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
