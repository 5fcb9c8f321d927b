import { join } from 'node:path';
import { ofSource, type PerSource, type SourceId } from '@weft/common';
import { LRUCache } from 'lru-cache';
import pLimit from 'p-limit';
import { decodeImage, undecodableImage } from '../formats/decode-image.js';
import type { ImageLocation } from '../formats/document.js';
import { ShardFile } from '../formats/shard-file.js';
import type { IndexedShard } from './manifest.js';

/** One of the four threads of Node's pool stays free for files and for the tensor engine. */
const CONCURRENT_READS = 3;
const OPEN_SHARDS = 64;
/** Small runs see their images many times, from the cache; large ones see each once. */
const CACHED_IMAGE_BYTES = 64 * 1024 * 1024;

/** Reads images from the shards of a dataset and decodes them off the main thread, a few at a time. */
export class ImageReader {
  readonly #directory: string;
  readonly #shards: PerSource<readonly IndexedShard[]>;
  readonly #imageSize: number;
  readonly #limit = pLimit(CONCURRENT_READS);
  readonly #decoded = new LRUCache<string, Uint8Array>({
    maxSize: CACHED_IMAGE_BYTES,
    sizeCalculation: (pixels) => pixels.length,
  });
  readonly #open = new LRUCache<string, Promise<ShardFile>>({
    max: OPEN_SHARDS,
    dispose: (shard, _key, reason) => {
      if (reason === 'evict') void closeQuietly(shard);
    },
  });

  constructor(directory: string, shards: PerSource<readonly IndexedShard[]>, imageSize: number) {
    this.#directory = directory;
    this.#shards = shards;
    this.#imageSize = imageSize;
  }

  /**
   * The pixels of an image: imageSize · imageSize · 3 bytes. The array is cached and shared: do not write into it.
   *
   * @throws WeftError `corrupt_data` naming shard and member
   */
  async read(source: SourceId, image: ImageLocation): Promise<Uint8Array> {
    const key = `${source}/${image.shard}/${image.offset}`;
    const cached = this.#decoded.get(key);
    if (cached !== undefined) return cached;
    const pixels = await this.#limit(() => this.#decode(source, image));
    this.#decoded.set(key, pixels);
    return pixels;
  }

  /** The name of the member that holds an image. Walks the shard: for messages only. */
  async nameOf(source: SourceId, image: ImageLocation): Promise<string> {
    return (await this.#shard(source, image.shard)).nameAt(image.offset);
  }

  async close(): Promise<void> {
    const shards = [...this.#open.values()];
    this.#open.clear();
    for (const shard of shards) await closeQuietly(shard);
  }

  async #decode(source: SourceId, image: ImageLocation): Promise<Uint8Array> {
    const shard = await this.#shard(source, image.shard);
    try {
      return await decodeImage(await shard.read(image.offset, image.bytes), this.#imageSize);
    } catch (thrown) {
      throw undecodableImage(await shard.nameAt(image.offset), shard.path, thrown);
    }
  }

  #shard(source: SourceId, number: number): Promise<ShardFile> {
    const name = ofSource(this.#shards, source)[number]?.name ?? `shard ${number}`;
    const key = `${source}/${name}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const opening = ShardFile.open(join(this.#directory, source, name));
    this.#open.set(key, opening);
    // A shard that could not be opened is tried again the next time.
    opening.catch(() => this.#open.delete(key));
    return opening;
  }
}

/** A shard that failed to open needs no closing; the read that wanted it reports the error. */
async function closeQuietly(shard: Promise<ShardFile>): Promise<void> {
  await shard.then((file) => file.close()).catch(() => undefined);
}
