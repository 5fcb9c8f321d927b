import { ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import type { DataConfig } from '@weft/config';
import type { BatchCounts } from '@weft/contracts';
import { joinPath, type ShardStore } from '@weft/files';
import { LRUCache } from 'lru-cache';
import pLimit from 'p-limit';
import { undecodableImage } from '../formats/decode-image.js';
import { DecodeThreads, type DecodeThreadsOptions } from '../formats/decode-threads.js';
import type { ImageLocation } from '../formats/document.js';
import { ShardFile } from '../formats/shard-file.js';
import { datasetFolder, type IndexedShard } from './manifest.js';

/** Pictures that are read while as many are decoded. */
const READ_AHEAD = 2;
const OPEN_SHARDS = 64;
/** Small runs see their images many times, from the cache; large ones see each once. */
const CACHED_IMAGE_BYTES = 64 * 1024 * 1024;

/** By which threads pictures are decoded. */
export type DecodingOptions = Omit<DecodeThreadsOptions, 'imageSize' | 'preprocessing'>;

/** Reads images from the shards of a dataset and has them decoded in other threads, a few at a time. */
export class ImageReader {
  readonly #data: Pick<DataConfig, 'directory' | 'datasets'>;
  readonly #shards: PerSource<readonly IndexedShard[]>;
  readonly #store: ShardStore;
  readonly #threads: DecodeThreads;
  #count = { images: 0, seconds: 0 };
  #isClosed = false;
  readonly #limit;
  readonly #decoded = new LRUCache<string, Uint8Array>({
    maxSize: CACHED_IMAGE_BYTES,
    sizeCalculation: (pixels) => pixels.length,
  });
  readonly #decoding = new Map<string, Promise<readonly Uint8Array[]>>();
  readonly #open = new LRUCache<string, Promise<ShardFile>>({
    max: OPEN_SHARDS,
    dispose: (shard, _key, reason) => {
      if (reason === 'evict') void closeQuietly(shard);
    },
  });

  constructor(
    data: Pick<DataConfig, 'directory' | 'datasets' | 'images'>,
    shards: PerSource<readonly IndexedShard[]>,
    imageSize: number,
    store: ShardStore,
    decoding: DecodingOptions = {},
  ) {
    this.#store = store;
    this.#data = data;
    this.#threads = new DecodeThreads({ ...decoding, imageSize, preprocessing: data.images });
    this.#limit = pLimit(this.#threads.concurrency + READ_AHEAD);
    this.#shards = shards;
  }

  /**
   * The pixels of a view of an image: imageSize · imageSize · 3 bytes. The array is cached and shared: do not write into it.
   *
   * @throws WeftError `corrupt_data` naming shard and member
   */
  async read(source: SourceId, image: ImageLocation): Promise<Uint8Array> {
    const picture = `${source}/${image.shard}/${image.offset}`;
    const cached = this.#decoded.get(`${picture}/${image.view}`);
    if (cached !== undefined) return cached;
    // The views of a picture are asked for together, and decoded once.
    const decoding = this.#decoding.get(picture) ?? this.#limit(() => this.#timed(() => this.#decode(source, image)));
    this.#decoding.set(picture, decoding);
    const views = await decoding.finally(() => this.#decoding.delete(picture));
    for (const [view, pixels] of views.entries()) this.#decoded.set(`${picture}/${view}`, pixels);
    const pixels = views[image.view];
    if (pixels === undefined)
      throw new WeftError('internal', `a picture of ${views.length} views has no view ${image.view}`);
    return pixels;
  }

  /** How many images were decoded so far, the time of that, reading included, on all threads, and how many of these were lost. */
  get decoded(): BatchCounts['decoded'] {
    return { ...this.#count, replacedThreads: this.#threads.replaced };
  }

  /** The bytes of the file of an image, as they are in the shard. */
  async readFile(source: SourceId, image: ImageLocation): Promise<Uint8Array> {
    return (await this.#shard(source, image.shard)).read(image.offset, image.bytes);
  }

  /** The name of the member that holds an image; empty for an image that is a shard itself. Walks the shard: for messages only. */
  async nameOf(source: SourceId, image: ImageLocation): Promise<string> {
    const shard = await this.#shard(source, image.shard);
    return image.offset === 0 ? '' : shard.nameAt(image.offset);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#threads.close();
    const shards = [...this.#open.values()];
    this.#open.clear();
    for (const shard of shards) await closeQuietly(shard);
  }

  async #timed<T>(decode: () => Promise<T>): Promise<T> {
    const beganMs = performance.now();
    const decoded = await decode();
    const { images, seconds } = this.#count;
    this.#count = { images: images + 1, seconds: seconds + (performance.now() - beganMs) / 1000 };
    return decoded;
  }

  async #decode(source: SourceId, image: ImageLocation): Promise<readonly Uint8Array[]> {
    const shard = await this.#shard(source, image.shard);
    try {
      const encoded = await shard.read(image.offset, image.bytes);
      return await this.#threads.decode(encoded, `the image at byte ${image.offset} of ${shard.path}`);
    } catch (thrown) {
      throw undecodableImage(await this.nameOf(source, image), shard.path, thrown);
    }
  }

  #shard(source: SourceId, number: number): Promise<ShardFile> {
    if (this.#isClosed) return Promise.reject(new WeftError('cancelled', 'the images are closed'));
    const name = ofSource(this.#shards, source)[number]?.name ?? `shard ${number}`;
    const key = `${source}/${name}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    const opening = ShardFile.open(joinPath(datasetFolder(this.#data, source), name), this.#store);
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
