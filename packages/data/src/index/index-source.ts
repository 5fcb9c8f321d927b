import { join } from 'node:path';
import type { SourceId, WeftError } from '@weft/common';
import type { SourceKind } from '@weft/config';
import { decodeImage, undecodableImage } from '../formats/decode-image.js';
import type { ImageLocation, SourceDocument } from '../formats/document.js';
import { ShardFile } from '../formats/shard-file.js';
import { shardDocuments } from '../formats/source-shards.js';
import type { Tokenizer } from '../formats/tokenizer.js';
import type { IndexedShard, SourceManifest } from './manifest.js';
import type { PackingLimits } from './packed-sequence.js';
import { Segmenter, SequencePacker } from './packing.js';
import { entryBytesFor } from './records.js';
import { SourceTablesWriter } from './source-tables-writer.js';

/**
 * Reads, tokenizes and packs the shards of one source and writes its tables into `folder`. Memory use is bounded: the
 * open sequences and the write buffers, whatever the size of the source.
 *
 * @throws WeftError `corrupt_data` naming shard and member
 */
export async function indexSource(options: {
  readonly directory: string;
  readonly source: SourceId;
  readonly kind: SourceKind;
  readonly shards: readonly IndexedShard[];
  readonly folder: string;
  readonly tokenizer: Tokenizer;
  readonly limits: PackingLimits;
  readonly onShard: (shard: IndexedShard) => void;
}): Promise<SourceManifest> {
  const { directory, source, kind, shards, tokenizer, limits } = options;
  const tables = await SourceTablesWriter.create(options.folder, source, entryBytesFor(tokenizer.vocabularySize));
  try {
    const packer = new SequencePacker(limits, (segments) => tables.addSequence(segments));
    let documents = 0;
    for (const [number, shard] of shards.entries()) {
      options.onShard(shard);
      const checker = kind === 'text' ? undefined : await ImageChecker.open(join(directory, source, shard.name));
      try {
        for await (const document of shardDocuments(join(directory, source, shard.name), kind, number)) {
          const segmenter = new Segmenter(limits, documents, (segment) => packer.add(segment));
          if (!(await addDocument(document, tokenizer, segmenter, checker, tables))) continue;
          documents++;
          await tables.flush();
        }
        await checker?.finish();
      } finally {
        await checker?.close();
      }
    }
    packer.finish();
    return { shards, documents, ...(await tables.finish()) };
  } catch (thrown) {
    await tables.abandon();
    throw thrown;
  }
}

/** @returns false for a document without text and images, which is skipped */
async function addDocument(
  document: SourceDocument,
  tokenizer: Tokenizer,
  segmenter: Segmenter,
  checker: ImageChecker | undefined,
  tables: SourceTablesWriter,
): Promise<boolean> {
  let isEmpty = true;
  for await (const part of document.parts) {
    if (part.kind === 'image') {
      await checker?.check(part.image, part.name);
      segmenter.addImage(part.image);
      isEmpty = false;
    } else {
      const ids = tokenizer.encode(part.text);
      segmenter.addTokens(ids);
      isEmpty &&= ids.length === 0;
      // One document may be as long as a file.
      await tables.flush();
    }
  }
  if (isEmpty) return false;
  segmenter.addTokens(Int32Array.of(tokenizer.endOfTextId));
  segmenter.finish();
  return true;
}

/** Images decoded at a time; the decoder has that many threads. */
const CONCURRENT_DECODES = 4;
/** Pixels of the throw-away result; the whole image is decoded whatever this size. */
const CHECKED_SIZE = 8;

/** Decodes every image of a shard once, so that training never meets one that cannot be decoded. */
class ImageChecker {
  readonly #shard: ShardFile;
  /** In order, so that the first damaged image of the shard is the one reported. */
  readonly #running: Promise<WeftError | undefined>[] = [];

  static async open(path: string): Promise<ImageChecker> {
    return new ImageChecker(await ShardFile.open(path));
  }

  private constructor(shard: ShardFile) {
    this.#shard = shard;
  }

  /**
   * Starts decoding an image, and waits for the oldest one when too many are running.
   *
   * @param name the name of its member
   * @throws WeftError `corrupt_data` naming shard and member of an earlier image
   */
  async check(image: ImageLocation, name: string): Promise<void> {
    this.#running.push(this.#decode(image, name));
    if (this.#running.length >= CONCURRENT_DECODES) await this.#awaitOldest();
  }

  /** Waits for the images still being decoded. */
  async finish(): Promise<void> {
    while (this.#running.length > 0) await this.#awaitOldest();
  }

  async close(): Promise<void> {
    await Promise.all(this.#running);
    await this.#shard.close();
  }

  async #awaitOldest(): Promise<void> {
    const problem = await this.#running.shift();
    if (problem !== undefined) throw problem;
  }

  async #decode(image: ImageLocation, name: string): Promise<WeftError | undefined> {
    try {
      await decodeImage(await this.#shard.read(image.offset, image.bytes), CHECKED_SIZE);
      return undefined;
    } catch (thrown) {
      return undecodableImage(name, this.#shard.path, thrown);
    }
  }
}
