import { WeftError } from '@weft/common';
import type { SourceKind } from '@weft/config';
import { joinPath, type ShardStore } from '@weft/files';
import { LRUCache } from 'lru-cache';
import pLimit from 'p-limit';
import { checkImage, undecodableImage } from '../formats/decode-image.js';
import type { BadSample, DocumentPart, ImageLocation, SourceDocument } from '../formats/document.js';
import { ShardFile } from '../formats/shard-file.js';

/** Images decoded at a time; the decoder has that many threads. */
const CONCURRENT_DECODES = 4;
/** Images of one document may lie in several shards. */
const OPEN_SHARDS = 8;

/** Decodes every image of a dataset once, so that training never meets one that cannot be decoded. */
export class ImageChecker {
  readonly #folder: string;
  readonly #shards: readonly string[];
  readonly #store: ShardStore;
  readonly #limit = pLimit(CONCURRENT_DECODES);
  /** What is known of images that several documents may name; undefined where each comes once. */
  readonly #known: Map<string, Promise<WeftError | undefined>> | undefined;
  readonly #open = new LRUCache<string, OpenShard>({ max: OPEN_SHARDS, dispose: (shard) => shard.release() });

  /** @param shards paths below `folder`, in the order of their numbers */
  constructor(folder: string, shards: readonly string[], kind: SourceKind, store: ShardStore) {
    this.#store = store;
    this.#folder = folder;
    this.#shards = shards;
    this.#known = kind === 'conversations' ? new Map() : undefined;
  }

  /**
   * The document, or the bad sample that it is. Does not throw for an image that cannot be decoded.
   *
   * @throws WeftError what kept an image from being read
   */
  async check(document: SourceDocument): Promise<SourceDocument | BadSample> {
    // Texts that are read while they are packed come without images.
    if (!Array.isArray(document.parts)) return document;
    const parts: readonly DocumentPart[] = document.parts;
    const problems = await Promise.all(
      parts.flatMap((part) => (part.kind === 'image' ? [this.#checkImage(part.image, part.name)] : [])),
    );
    const problem = problems.find((each) => each !== undefined);
    return problem === undefined ? document : { key: document.key, problem };
  }

  /** Closes what is open. */
  closeShards(): void {
    this.#open.clear();
  }

  #checkImage(image: ImageLocation, name: string): Promise<WeftError | undefined> {
    const key = `${image.shard}/${image.offset}`;
    const checking = this.#known?.get(key) ?? this.#limit(() => this.#decode(image, name));
    this.#known?.set(key, checking);
    return checking;
  }

  async #decode({ shard, offset, bytes }: ImageLocation, name: string): Promise<WeftError | undefined> {
    const path = joinPath(this.#folder, this.#shards[shard] ?? '');
    const open = this.#open.get(path) ?? new OpenShard(ShardFile.open(path, this.#store));
    this.#open.set(path, open);
    try {
      const encoded = await open.use((file) => file.read(offset, bytes));
      await checkImage(encoded).catch((thrown: unknown) => {
        throw undecodableImage(name, path, thrown);
      });
      return undefined;
    } catch (thrown) {
      // What a disk or a network cannot do now says nothing about the sample.
      if (WeftError.is(thrown, 'corrupt_data')) return thrown;
      throw thrown;
    }
  }
}

/** Closed when it was released and nobody reads from it any more. */
class OpenShard {
  readonly #file: Promise<ShardFile>;
  #uses = 1;

  constructor(file: Promise<ShardFile>) {
    this.#file = file;
  }

  async use<T>(read: (file: ShardFile) => Promise<T>): Promise<T> {
    this.#uses++;
    try {
      return await read(await this.#file);
    } finally {
      this.release();
    }
  }

  release(): void {
    this.#uses--;
    // One that could not be opened needs no closing: whoever reads it gets the error.
    if (this.#uses === 0) this.#file.then((file) => file.close()).catch(() => undefined);
  }
}
