import type { SourceId, WeftError } from '@weft/common';
import type { ChatTemplate, DatasetSettings, SourceKind } from '@weft/config';
import { joinPath, type ShardStore } from '@weft/files';
import pLimit from 'p-limit';
import { decodeImage, undecodableImage } from '../formats/decode-image.js';
import type { BadSample, DocumentPart, ImageLocation, SourceDocument } from '../formats/document.js';
import type { LeftOut } from '../formats/left-out.js';
import { ShardFile } from '../formats/shard-file.js';
import { type ShardDocuments, ShardReader } from '../formats/source-shards.js';
import type { Tokenizer } from '../formats/tokenizer.js';
import { BadSamples } from './bad-samples.js';
import type { IndexedShard, SourceManifest } from './manifest.js';
import type { PackingLimits, Segment } from './packed-sequence.js';
import { PairSegmenter, Segmenter, SequencePacker } from './packing.js';
import type { EntryBytes } from './records.js';
import { SourceTablesWriter } from './source-tables-writer.js';

/**
 * Reads, tokenizes and packs the shards of one dataset and writes its tables into `folder`. Memory use is bounded: the
 * open sequences, the write buffers and a few documents, whatever the size of the dataset.
 *
 * @throws WeftError `corrupt_data` naming shard and member
 */
export async function indexSource(options: {
  /** The folder of the shards. */
  readonly directory: string;
  readonly source: SourceId;
  readonly kind: SourceKind;
  readonly settings: DatasetSettings;
  readonly shards: readonly IndexedShard[];
  /** Where they are read from. */
  readonly store: ShardStore;
  /** Where the tables are written. */
  readonly folder: string;
  readonly tokenizer: Tokenizer;
  readonly entryBytes: EntryBytes;
  readonly limits: PackingLimits;
  /** Of conversations. */
  readonly chatTemplate: ChatTemplate;
  readonly onShard: (shard: IndexedShard) => void;
  /** Gets every member that is not read, every empty document and every bad sample. */
  readonly onLeftOut: (what: LeftOut) => void;
}): Promise<SourceManifest> {
  const { directory, source, kind, settings, shards, store, tokenizer, limits, chatTemplate } = options;
  const tables = await SourceTablesWriter.create(options.folder, source, options.entryBytes);
  const checker = new ImageChecker(directory, shards, kind, store);
  const bad = new BadSamples(source, settings);
  try {
    const packer = new SequencePacker(limits, (segments) => tables.addSequence(segments));
    // Every pair is a sequence of its own.
    const asPairs = { add: (segment: Segment) => tables.addSequence([segment]) };
    const names = shards.map(({ name }) => name);
    const reader = await ShardReader.open({ folder: directory, kind, shards: names, settings, chatTemplate, store });
    let documents = 0;
    // Only captioned sources hold pairs; a run of pairs may have others beside them, with a weight of 0.
    const read = limits.pairs && kind !== 'captioned' ? [] : shards;
    for (const [number, shard] of read.entries()) {
      options.onShard(shard);
      const leaveOut = (key: string, reason: string, detail?: string) =>
        options.onLeftOut({
          name: `${source}/${shard.name} ${key}`.trimEnd(),
          ...{ reason, shard: shard.name, key },
          ...(detail === undefined ? {} : { detail }),
        });
      const found = reader.documents(number, ({ name, reason }) => leaveOut(name, reason));
      for await (const document of checked(found, checker)) {
        if ('problem' in document) {
          leaveOut(document.key, ...bad.leaveOut(document, joinPath(directory, shard.name)));
          continue;
        }
        const leave = (reason: string) => leaveOut(document.key, reason);
        const segments = new DocumentSegments(document, limits.pairs ? asPairs : packer, leave);
        const segmenter = new (limits.pairs ? PairSegmenter : Segmenter)(limits, documents, (segment) =>
          segments.add(segment),
        );
        bad.countGood();
        if (!(await addDocument(document, tokenizer, segmenter, tables))) {
          leave(segmenter.emptyBecause);
          continue;
        }
        if (segments.count > 0) documents++;
        await tables.flush();
      }
    }
    bad.checkShare();
    packer.finish();
    for (const { name, ...rest } of reader.unused())
      options.onLeftOut({ name: `${source}/${name}`, ...rest, key: name });
    return { shards, documents, ...(await tables.finish()) };
  } catch (thrown) {
    await tables.abandon();
    throw thrown;
  }
}

/** Documents whose images are being decoded while others are packed. */
const DOCUMENTS_AHEAD = 8;

/** The documents in order, those with an image that cannot be decoded as bad samples. */
async function* checked(
  documents: ShardDocuments,
  checker: ImageChecker,
): AsyncGenerator<SourceDocument | BadSample, void, undefined> {
  const ahead: Promise<SourceDocument | BadSample>[] = [];
  try {
    for await (const document of documents) {
      ahead.push('problem' in document ? Promise.resolve(document) : checker.check(document));
      if (ahead.length > DOCUMENTS_AHEAD) yield await ahead.shift()!;
    }
    while (ahead.length > 0) yield await ahead.shift()!;
  } finally {
    // After an error, which is the one to report.
    await Promise.all(ahead);
  }
}

/** Where the segments of a document go: all into sequences, of a conversation the first alone. */
class DocumentSegments {
  readonly #document: SourceDocument;
  readonly #packer: Pick<SequencePacker, 'add'>;
  readonly #leave: (reason: string) => void;
  /** Segments that were packed. */
  count = 0;

  constructor(document: SourceDocument, packer: Pick<SequencePacker, 'add'>, leave: (reason: string) => void) {
    this.#document = document;
    this.#packer = packer;
    this.#leave = leave;
  }

  add(segment: Segment): void {
    if (this.#document.isConversation === true) {
      // An answer without the beginning of its conversation would be learned as an answer to nothing.
      if (segment.part > 1) return;
      if (segment.part === 1 && this.count === 1)
        this.#leave('the end of the conversation does not fit into model.sequenceLength');
      if (segment.part === 1) return;
      if (segment.targets?.includes(1) === false) {
        this.#leave('its first answer does not begin within model.sequenceLength');
        return;
      }
    }
    this.#packer.add(segment);
    this.count++;
  }
}

/** @returns false for a document that gives no segment, which is skipped */
async function addDocument(
  document: SourceDocument,
  tokenizer: Tokenizer,
  segmenter: Segmenter | PairSegmenter,
  tables: SourceTablesWriter,
): Promise<boolean> {
  for await (const part of document.parts) {
    if (part.kind === 'image') segmenter.addImage(part.image);
    else if (part.kind === 'end') segmenter.addTokens(Int32Array.of(tokenizer.endOfTextId));
    else {
      segmenter.addTokens(tokenizer.encode(part.text), part.isAnswer);
      // One document may be as long as a file.
      await tables.flush();
    }
  }
  if (segmenter.isEmpty) return false;
  segmenter.end(tokenizer.endOfTextId);
  return true;
}

/** Images decoded at a time; the decoder has that many threads. */
const CONCURRENT_DECODES = 4;
/** Pixels of the throw-away result; the whole image is decoded whatever this size. */
const CHECKED_SIZE = 8;

/** Decodes every image of a dataset once, so that training never meets one that cannot be decoded. */
class ImageChecker {
  readonly #folder: string;
  readonly #shards: readonly IndexedShard[];
  readonly #store: ShardStore;
  readonly #limit = pLimit(CONCURRENT_DECODES);
  /** What is known of images that several documents may name; undefined where each comes once. */
  readonly #known: Map<string, Promise<WeftError | undefined>> | undefined;

  constructor(folder: string, shards: readonly IndexedShard[], kind: SourceKind, store: ShardStore) {
    this.#folder = folder;
    this.#store = store;
    this.#shards = shards;
    this.#known = kind === 'conversations' ? new Map() : undefined;
  }

  /** The document, or the bad sample that it is. Does not throw for an image that cannot be decoded. */
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

  #checkImage(image: ImageLocation, name: string): Promise<WeftError | undefined> {
    const key = `${image.shard}/${image.offset}`;
    const checking = this.#known?.get(key) ?? this.#limit(() => this.#decode(image, name));
    this.#known?.set(key, checking);
    return checking;
  }

  async #decode({ shard, offset, bytes }: ImageLocation, name: string): Promise<WeftError | undefined> {
    const path = joinPath(this.#folder, this.#shards[shard]?.name ?? '');
    try {
      const file = await ShardFile.open(path, this.#store);
      try {
        await decodeImage(await file.read(offset, bytes), CHECKED_SIZE);
        return undefined;
      } finally {
        await file.close();
      }
    } catch (thrown) {
      return undecodableImage(name, path, thrown);
    }
  }
}
