import { ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import { datasetSettings } from '@weft/config';
import { type Blob, type BlobStatus, isRemote, joinPath, type ShardStore, withBlob, withKnown } from '@weft/files';
import { shardStore } from '@weft/remote';
import { type BadSample, REST_OF_SHARD, type SourceDocument } from '../formats/document.js';
import { openRunTokenizer } from '../formats/open-tokenizer.js';
import { type ShardDocuments, ShardReader } from '../formats/source-shards.js';
import type { Tokenizer } from '../formats/tokenizer.js';
import { refusedSample } from './bad-samples.js';
import { ImageChecker } from './image-checker.js';
import { type DatasetConfig, datasetFolder, hasConversations, packingLimits } from './manifest.js';
import type { PackingLimits, Segment } from './packed-sequence.js';
import { PairSegmenter, Segmenter } from './packing.js';
import { entryBytesFor } from './records.js';
import { type PartLocation, PartWriter, type ShardPart, sentError } from './shard-part.js';
import { fingerprintOf } from './shard-samples.js';

/** A shard that is there. */
export interface ListedShard {
  /** Path below the folder of its dataset. */
  readonly name: string;
  readonly bytes: number;
  /** Changes when the shard does: of a file its size and times. Null where that is not known. */
  readonly version: string | null;
}

/** What all shards of an index are read by. It is sent to other processes. */
export interface IndexRun {
  readonly config: DatasetConfig;
  /** In the order of their numbers. */
  readonly shards: PerSource<readonly ListedShard[]>;
}

/** A shard to be read. */
export interface ShardTask {
  readonly source: SourceId;
  /** Among the shards of its source. */
  readonly number: number;
  readonly bytes: number;
}

/** A smaller shard is read into memory once, for its hash, its documents and its images. */
const SMALL_SHARD_BYTES = 16 * 1024 * 1024;
/** Documents whose images are being decoded while others are tokenized. */
const DOCUMENTS_AHEAD = 8;

/**
 * Reads shards: hashes them, checks their images, tokenizes their documents and cuts these into segments, which it writes
 * into a part file. Nothing of that depends on other shards, so any number of these work side by side.
 */
export class ShardIndexer {
  readonly #run: IndexRun;
  readonly #tokenizer: Tokenizer;
  readonly #limits: PackingLimits;
  readonly #part: PartWriter;
  readonly #store: NearStore;
  readonly #sources = new Map<SourceId, SourceReader>();

  /**
   * @param folder of the part file
   * @param file its number
   */
  static async open(run: IndexRun, folder: string, file: number): Promise<ShardIndexer> {
    const { config } = run;
    const tokenizer = await openRunTokenizer(config);
    const entryBytes = entryBytesFor(tokenizer.vocabularySize, hasConversations(config.data));
    return new ShardIndexer(run, tokenizer, await PartWriter.create(folder, file, entryBytes));
  }

  private constructor(run: IndexRun, tokenizer: Tokenizer, part: PartWriter) {
    this.#run = run;
    this.#tokenizer = tokenizer;
    this.#limits = packingLimits(run.config);
    this.#store = new NearStore(withKnown(shardStore(run.config.data.remote), knownStatuses(run)));
    this.#part = part;
  }

  /**
   * @throws WeftError `corrupt_data` naming shard and member, and where bad samples are refused for the first of them
   */
  async index({ source, number }: ShardTask): Promise<ShardPart> {
    const { name, bytes, version } = ofSource(this.#run.shards, source)[number]!;
    const path = joinPath(datasetFolder(this.#run.config.data, source), name);
    try {
      const status = isRemote(path) ? { bytes, version } : undefined;
      const fingerprint = await this.#store.hold(path, (shard) => fingerprintOf(shard, status));
      const documents = await this.#documents(source, number);
      const location: PartLocation = await this.#part.end();
      return { source, name, version, documents, ...fingerprint, ...location };
    } catch (thrown) {
      this.#part.abandon();
      throw thrown;
    }
  }

  async close(): Promise<void> {
    await this.#part.close();
  }

  /** @returns how many have segments */
  async #documents(source: SourceId, number: number): Promise<number> {
    const { data } = this.#run.config;
    const kind = ofSource(data.sources, source);
    // Only captioned sources hold pairs; a run of pairs may have others beside them, with a weight of 0.
    if (this.#limits.pairs && kind !== 'captioned') return 0;
    const known = this.#sources.get(source) ?? (await this.#openSource(source));
    this.#sources.set(source, known);
    const { reader, checker } = known;
    const part = this.#part;
    const leave = (key: string, reason: string) =>
      part.addEvent({
        kind: 'leftOut',
        what: leftOutOf(source, ofSource(this.#run.shards, source)[number]!.name, key, reason),
      });
    const addBad = ({ key, problem }: BadSample) => {
      if (datasetSettings(data, source).badSamples === 'refuse') throw refusedSample(problem, source);
      part.addEvent({ kind: 'bad', key, problem: sentError(problem) });
    };
    let documents = 0;
    try {
      const found = reader.documents(number, ({ name, reason }) => leave(name, reason));
      for await (const document of checked(found, checker)) {
        if ('problem' in document) addBad(document);
        else if (await this.#add(document, documents, (reason) => leave(document.key, reason))) {
          part.addKey(document.key);
          documents++;
        }
        await part.flush();
      }
    } finally {
      checker.closeShards();
    }
    const names = reader.takeUsed();
    if (names.length > 0) part.addEvent({ kind: 'used', names });
    return documents;
  }

  async #openSource(source: SourceId): Promise<SourceReader> {
    const { data } = this.#run.config;
    const kind = ofSource(data.sources, source);
    const shards = ofSource(this.#run.shards, source).map(({ name }) => name);
    const folder = datasetFolder(data, source);
    const settings = datasetSettings(data, source);
    const store = this.#store;
    const reader = await ShardReader.open({ folder, kind, shards, settings, chatTemplate: data.chatTemplate, store });
    return { reader, checker: new ImageChecker(folder, shards, kind, store) };
  }

  /**
   * @param number of the document among those of its shard that have segments
   * @returns whether it has some
   */
  async #add(document: SourceDocument, number: number, leave: (reason: string) => void): Promise<boolean> {
    const segments = new DocumentSegments(document, this.#part, leave);
    const segmenter = new (this.#limits.pairs ? PairSegmenter : Segmenter)(this.#limits, number, (segment) =>
      segments.add(segment),
    );
    this.#part.countGood();
    if (!(await addDocument(document, this.#tokenizer, segmenter, this.#part))) leave(segmenter.emptyBecause);
    return segments.count > 0;
  }
}

interface SourceReader {
  readonly reader: ShardReader;
  readonly checker: ImageChecker;
}

/** What is left out, named as in `left-out.jsonl`. @param detail of a bad sample: all that is known */
export function leftOutOf(source: SourceId, shard = '', key: string, reason: string, detail?: string) {
  return {
    name: `${source}/${shard} ${key}`.trimEnd(),
    ...{ reason, shard, key },
    ...(detail === undefined ? {} : { detail }),
  };
}

/** What was told of shards at addresses when they were listed. */
function knownStatuses({ config: { data }, shards }: IndexRun): ReadonlyMap<string, BlobStatus> {
  return new Map(
    Object.entries(shards).flatMap(([source, listed]) => {
      const folder = datasetFolder(data, source);
      return isRemote(folder) ? listed.map(({ name, ...status }) => [joinPath(folder, name), status] as const) : [];
    }),
  );
}

/** A store that has one shard in memory, where it is small: it is hashed and read from the same bytes. */
class NearStore implements ShardStore {
  readonly status: ShardStore['status'];
  readonly names: ShardStore['names'];
  readonly list: ShardStore['list'];
  readonly prepare: ShardStore['prepare'];
  readonly #below: ShardStore;
  #near: { readonly path: string; readonly blob: Blob } | undefined;

  constructor(below: ShardStore) {
    this.#below = below;
    this.status = below.status;
    this.names = below.names;
    this.list = below.list;
    this.prepare = below.prepare;
  }

  /** Reads a shard that is read again afterwards, in place of the one before. */
  async hold<T>(path: string, read: (shard: Blob) => Promise<T>): Promise<T> {
    this.#near = undefined;
    return await withBlob(this.#below, path, async (shard) => {
      if (shard.bytes > SMALL_SHARD_BYTES) return await read(shard);
      const content = Buffer.allocUnsafe(shard.bytes);
      await shard.read(content, 0);
      const blob = memoryBlob(content);
      this.#near = { path, blob };
      return await read(blob);
    });
  }

  async open(path: string, known?: BlobStatus): Promise<Blob> {
    return this.#near?.path === path ? this.#near.blob : await this.#below.open(path, known);
  }
}

function memoryBlob(content: Buffer): Blob {
  return {
    bytes: content.length,
    read: async (into, position) => {
      if (content.copy(into, 0, position, position + into.length) < into.length)
        throw new WeftError('corrupt_data', `it ends at byte ${content.length}, in the middle of its data`);
    },
    close: async () => undefined,
  };
}

/** The documents in order, those with an image that cannot be decoded as bad samples. */
async function* checked(
  documents: ShardDocuments,
  checker: ImageChecker,
): AsyncGenerator<SourceDocument | BadSample, void, undefined> {
  const ahead: Promise<SourceDocument | BadSample>[] = [];
  try {
    for await (const document of untilDamaged(documents)) {
      const checking = 'problem' in document ? Promise.resolve(document) : checker.check(document);
      // An error is thrown when its turn comes.
      checking.catch(() => undefined);
      ahead.push(checking);
      if (ahead.length > DOCUMENTS_AHEAD) yield await ahead.shift()!;
    }
    for (const next of ahead.splice(0)) yield await next;
  } finally {
    // What was begun ends before the shards are closed.
    await Promise.allSettled(ahead);
  }
}

/** Where a shard itself is damaged, what lies before is read, and all that follows is one bad sample. */
async function* untilDamaged(documents: ShardDocuments): AsyncGenerator<SourceDocument | BadSample, void, undefined> {
  try {
    yield* documents;
  } catch (thrown) {
    if (!WeftError.is(thrown, 'corrupt_data')) throw thrown;
    yield { key: REST_OF_SHARD, problem: thrown };
  }
}

/** Where the segments of a document go: all into the part, of a conversation the first alone. */
class DocumentSegments {
  readonly #document: SourceDocument;
  readonly #part: Pick<PartWriter, 'addSegment'>;
  readonly #leave: (reason: string) => void;
  /** Segments that were written. */
  count = 0;

  constructor(document: SourceDocument, part: Pick<PartWriter, 'addSegment'>, leave: (reason: string) => void) {
    this.#document = document;
    this.#part = part;
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
    this.#part.addSegment(segment);
    this.count++;
  }
}

/** @returns false for a document that gives no segment, which is skipped */
async function addDocument(
  document: SourceDocument,
  tokenizer: Tokenizer,
  segmenter: Segmenter | PairSegmenter,
  part: PartWriter,
): Promise<boolean> {
  for await (const each of document.parts) {
    if (each.kind === 'image') segmenter.addImage(each.image);
    else if (each.kind === 'end') segmenter.addTokens(Int32Array.of(tokenizer.endOfTextId));
    else {
      segmenter.addTokens(tokenizer.encode(each.text), each.isAnswer);
      // One document may be as long as a file.
      await part.flush();
    }
  }
  if (segmenter.isEmpty) return false;
  segmenter.end(tokenizer.endOfTextId);
  return true;
}
