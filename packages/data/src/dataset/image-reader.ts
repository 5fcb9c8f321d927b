import { join } from 'node:path';
import { ofSource, type PerSource, type SourceId } from '@weft/common';
import { imageProblem } from '../index/image-checker.js';
import type { IndexedShard } from '../index/manifest.js';
import type { ImageLocation } from '../shards/document.js';
import { ShardFile } from '../shards/shard-file.js';
import { decodeImage } from './decode-image.js';
import { LeastRecentlyUsed } from './least-recently-used.js';

/** One thread of Node's pool of four stays free for files and for the tensor engine. */
const AT_ONCE = 3;
const OPEN_SHARDS = 64;
/** Small runs see their images many times; large ones go through, and the oldest leave. */
const KEPT_IMAGE_BYTES = 64 * 1024 * 1024;

/** Reads images out of the shards of a dataset and decodes them off the main thread, a few at a time. */
export class ImageReader {
  readonly #directory: string;
  readonly #shards: PerSource<readonly IndexedShard[]>;
  readonly #imageSize: number;
  readonly #open = new LeastRecentlyUsed<Promise<ShardFile>>(OPEN_SHARDS, (shard) => void closeQuietly(shard));
  readonly #decoded = new LeastRecentlyUsed<Uint8Array>(KEPT_IMAGE_BYTES);
  readonly #waiting: (() => void)[] = [];
  #running = 0;

  constructor(directory: string, shards: PerSource<readonly IndexedShard[]>, imageSize: number) {
    this.#directory = directory;
    this.#shards = shards;
    this.#imageSize = imageSize;
  }

  /**
   * The pixels of an image: imageSize · imageSize · 3 bytes. They may be shared: do not write into them.
   *
   * @throws `corrupt_data` naming shard and member.
   */
  async read(source: SourceId, image: ImageLocation): Promise<Uint8Array> {
    const key = `${source}/${image.shard}/${image.offset}`;
    const kept = this.#decoded.get(key);
    if (kept !== undefined) return kept;
    if (this.#running >= AT_ONCE) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#running++;
    try {
      const pixels = await this.#decode(source, image);
      this.#decoded.set(key, pixels, pixels.length);
      return pixels;
    } finally {
      // The place goes straight to the next in line, so that nobody can slip in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }

  /** The name of the member that holds an image; walks the shard. */
  async nameOf(source: SourceId, image: ImageLocation): Promise<string> {
    return (await this.#shard(source, image.shard)).nameAt(image.offset);
  }

  async close(): Promise<void> {
    const shards = this.#open.clear();
    for (const shard of shards) await closeQuietly(shard);
  }

  async #decode(source: SourceId, image: ImageLocation): Promise<Uint8Array> {
    const shard = await this.#shard(source, image.shard);
    try {
      return await decodeImage(await shard.read(image.offset, image.bytes), this.#imageSize);
    } catch (thrown) {
      throw imageProblem(await shard.nameAt(image.offset), shard.path, thrown);
    }
  }

  #shard(source: SourceId, number: number): Promise<ShardFile> {
    const name = ofSource(this.#shards, source)[number]?.name ?? `shard ${number}`;
    const key = `${source}/${name}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const opening = ShardFile.open(join(this.#directory, source, name));
    this.#open.set(key, opening, 1);
    // A shard that could not be opened is tried again the next time.
    opening.catch(() => this.#open.delete(key));
    return opening;
  }
}

/** A shard that never opened has nothing to close; a reader that still holds it gets its error from the read. */
async function closeQuietly(shard: Promise<ShardFile>): Promise<void> {
  await shard.then((file) => file.close()).catch(() => undefined);
}
