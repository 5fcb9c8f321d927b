import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import type { DataConfig } from '@weft/config';
import type { BatchCounts, RemoteCounts } from '@weft/contracts';
import { type BlobRange, isRemote, joinPath, type ShardStore } from '@weft/files';
import { heldOutBase, type IndexVersion } from '@weft/mixture';
import { remoteCounts, shardStore } from '@weft/remote';
import { channelValues } from '../formats/decode-image.js';
import type { ImageLocation } from '../formats/document.js';
import { openRunTokenizer } from '../formats/open-tokenizer.js';
import type { Tokenizer } from '../formats/tokenizer.js';
import { checkNames, checkPresent, type ShardCheck, shardCheck } from './check-shards.js';
import { readDocumentName } from './document-names.js';
import { type DecodingOptions, ImageReader } from './image-reader.js';
import { findIndexFolder } from './index-folder.js';
import { countBadSamples } from './left-out-file.js';
import {
  type DatasetConfig,
  datasetFolder,
  type IndexManifest,
  packingLimits,
  partsOf,
  REINDEX,
  readManifest,
  versionsOf,
} from './manifest.js';
import type { PackedSequence, PackingLimits } from './packed-sequence.js';
import { compareShardSamples } from './shard-samples.js';
import { SourceTables } from './source-tables.js';

/** A packed dataset: reads any sequence by index and any image by location. Memory use does not grow with its size. */
export class Dataset {
  /** The folder of the index. */
  readonly directory: string;
  /** SHA-256 of the index manifest, which holds the hashes of all shards and tables: equal identities, equal data. */
  readonly identity: string;
  readonly manifest: IndexManifest;
  readonly tokenizer: Tokenizer;
  /** Height and width of decoded images, pixels. */
  readonly imageSize: number;
  /** What the encoder gets for the channel values of pixels, see `channelValues`. */
  readonly channelValues: Float32Array;
  readonly #data: DataConfig;
  readonly #tables: PerSource<SourceTables>;
  readonly #images: ImageReader;
  readonly #check: ShardCheck;
  /** Where its shards are read from. */
  readonly store: ShardStore;

  /**
   * Opens the index for these parameters and checks that the shards have the names and sizes it was made from. A run that
   * reads a version of the index goes on beside new shards, which no version holds yet. (`inspectDataset` checks the hashes.)
   *
   * @throws WeftError `not_found` when there is no such index or a shard is missing, `failed_precondition` when a shard
   * has another size, the index holds other shards than are meant, or a source with a positive weight is empty,
   * `corrupt_data` for a damaged index, `invalid_argument` when the model's vocabulary is too small
   */
  static async open(config: DatasetConfig, decoding?: DecodingOptions): Promise<Dataset> {
    const { data, model } = config;
    const tokenizer = await openRunTokenizer(config);
    const limits = packingLimits(config);
    const directory = await findIndexFolder(config, { tokenizer, use: 'read' });
    const { manifest, identity } = await readManifest(directory);
    checkParameters(directory, manifest, tokenizer, limits);
    const check = await shardCheck(directory, data, manifest);
    const { store } = check;
    for (const source of Object.keys(data.sources)) {
      const found = await checkPresent(check, source);
      if (data.indexVersion === null) await checkNames(check, source, found);
      checkNotEmpty(data, source, manifest);
    }
    const tables = await openTables(directory, manifest);
    const shards = mapSources(manifest.sources, ({ shards }) => shards);
    const images = new ImageReader(data, shards, model.vision.imageSize, store, decoding);
    const { imageSize } = model.vision;
    const values = channelValues(data.images);
    return new Dataset({
      ...{ directory, identity, manifest, tokenizer, imageSize, channelValues: values },
      ...{ tables, images, data, check },
    });
  }

  private constructor(parts: {
    readonly directory: string;
    readonly identity: string;
    readonly manifest: IndexManifest;
    readonly tokenizer: Tokenizer;
    readonly imageSize: number;
    readonly channelValues: Float32Array;
    readonly tables: PerSource<SourceTables>;
    readonly images: ImageReader;
    readonly data: DataConfig;
    readonly check: ShardCheck;
  }) {
    this.directory = parts.directory;
    this.identity = parts.identity;
    this.manifest = parts.manifest;
    this.tokenizer = parts.tokenizer;
    this.imageSize = parts.imageSize;
    this.channelValues = parts.channelValues;
    this.#tables = parts.tables;
    this.#images = parts.images;
    this.#data = parts.data;
    this.#check = parts.check;
    this.store = parts.check.store;
  }

  /** How many images were decoded since it was opened, the time of that on all threads, and how many of these were replaced. */
  get decoded(): BatchCounts['decoded'] {
    return this.#images.decoded;
  }

  /** How many samples of its shards the index leaves out, by source and reason. Reads the whole list. */
  badSamples(): Promise<PerSource<Readonly<Record<string, number>>>> {
    return countBadSamples(this.directory);
  }

  /**
   * Compares the names of the shards, and samples of them, with those taken when the index was made: what a run is begun with.
   *
   * @throws WeftError `failed_precondition` naming a shard whose bytes have changed, or that is not in the index
   */
  async compareShards(data: Pick<DataConfig, 'directory' | 'datasets'>): Promise<void> {
    if (this.#data.indexVersion !== null)
      for (const source of Object.keys(this.#data.sources)) await checkNames(this.#check, source);
    await compareShardSamples(this.directory, data, this.manifest, shardStore(this.#data.remote));
  }

  /** Whether some of its shards lie at addresses. */
  get isRemote(): boolean {
    return Object.keys(this.manifest.sources).some((source) => isRemote(datasetFolder(this.#data, source)));
  }

  /** What reading shards at addresses has cost this process; undefined where all lie on this machine. */
  get remote(): RemoteCounts | undefined {
    return this.isRemote ? remoteCounts() : undefined;
  }

  /** The versions of the index, the oldest first: what each holds of every source. */
  get versions(): readonly IndexVersion[] {
    return versionsOf(this.manifest);
  }

  /** As `identity`, of one version, from 1: of the index as it was then. */
  identityOf(version: number): string {
    return this.manifest.formerIdentities[version - 1] ?? this.identity;
  }

  /** Of how many sequences of a source, its first ones, those that are held out are chosen. */
  heldOutBase(source: SourceId, heldOut: number): number {
    return heldOutBase(
      this.versions.map(({ sequences }) => ofSource(sequences, source)),
      heldOut,
    );
  }

  /** How many packed sequences each source holds, in the newest version. */
  get sequences(): PerSource<number> {
    return mapSources(this.manifest.sources, ({ sequences }) => sequences);
  }

  /** What a sequence may hold. */
  get limits(): PackingLimits {
    return this.manifest.packing;
  }

  /**
   * @param index of the sequence in its source, from 0
   * @throws WeftError `not_found` for a source the run does not have, `invalid_argument` when there is no such sequence,
   * `corrupt_data` when the index is damaged
   */
  async readSequence(source: SourceId, index: number): Promise<PackedSequence> {
    const count = ofSource(this.sequences, source);
    if (!Number.isSafeInteger(index) || index < 0 || index >= count)
      throw new WeftError('invalid_argument', `there is no ${source} sequence ${index}: the index holds ${count}`);
    return ofSource(this.#tables, source).readSequence(index);
  }

  /**
   * How many images sequences of a source have, as it was first indexed: of all, or of some thousands spread over a large source.
   *
   * @throws WeftError `corrupt_data` when the index is damaged
   */
  sampleImageCounts(source: SourceId): Promise<Uint16Array> {
    return ofSource(this.#tables, source).sampleImageCounts();
  }

  /**
   * The pixels of an image, 8 bits per channel: imageSize · imageSize · 3 bytes, row by row. The array is shared: do not
   * write into it.
   *
   * @throws WeftError `corrupt_data` naming shard and member when it cannot be decoded
   */
  readImage(source: SourceId, image: ImageLocation): Promise<Uint8Array> {
    return this.#images.read(source, image);
  }

  /** Fetches the images of sequences that will be read soon, where they lie at an address. Never rejects. */
  async prepare(
    sequences: readonly { readonly source: SourceId; readonly index: number }[],
    signal?: AbortSignal,
  ): Promise<void> {
    const far = sequences.filter(({ source }) => isRemote(datasetFolder(this.#data, source)));
    const ranges: BlobRange[] = [];
    for (const { source, index } of far) {
      if (signal?.aborted) return;
      // A damaged index is an error of the read.
      const sequence = await this.readSequence(source, index).catch(() => undefined);
      const { shards } = ofSource(this.manifest.sources, source);
      for (const { shard, offset, bytes } of sequence?.segments.flatMap(({ images }) => images) ?? []) {
        const path = joinPath(datasetFolder(this.#data, source), shards[shard]?.name ?? '');
        ranges.push({ path, known: undefined, offset, bytes });
      }
    }
    await this.store.prepare(ranges, signal);
  }

  /** The bytes of the file of an image, not decoded. */
  readImageFile(source: SourceId, image: ImageLocation): Promise<Uint8Array> {
    return this.#images.readFile(source, image);
  }

  /** The shard and the member that hold an image. Walks the shard: for messages only. */
  async imageName(source: SourceId, image: ImageLocation): Promise<string> {
    const shard = ofSource(this.manifest.sources, source).shards[image.shard]?.name ?? `shard ${image.shard}`;
    return `${shard} ${await this.#images.nameOf(source, image)}`.trimEnd();
  }

  /**
   * Where a document was read from: its shard, a path below the folder of its dataset, and what names it there. Undefined where an
   * older version made the index.
   *
   * @param document its number in its source
   */
  async documentName(
    source: SourceId,
    document: number,
  ): Promise<{ readonly shard: string; readonly key: string } | undefined> {
    const indexed = ofSource(this.manifest.sources, source);
    let number = document;
    for (const { version, documents } of partsOf(indexed)) {
      if (number >= documents) {
        number -= documents;
        continue;
      }
      const found = await readDocumentName(this.directory, source, { version, number });
      return found && { shard: indexed.shards[found.shard]?.name ?? '', key: found.key };
    }
    return undefined;
  }

  async close(): Promise<void> {
    await this.#images.close();
    for (const tables of Object.values(this.#tables)) await tables.close();
  }
}

async function openTables(directory: string, manifest: IndexManifest): Promise<PerSource<SourceTables>> {
  const opened: Record<SourceId, SourceTables> = {};
  try {
    for (const source of Object.keys(manifest.sources))
      opened[source] = await SourceTables.open(directory, source, manifest);
  } catch (thrown) {
    for (const tables of Object.values(opened)) await tables.close();
    throw thrown;
  }
  return opened;
}

/** The parameters in the folder's name and those in the manifest must agree. */
function checkParameters(
  directory: string,
  manifest: IndexManifest,
  tokenizer: Tokenizer,
  limits: PackingLimits,
): void {
  const differing = [
    ['tokenizer', manifest.tokenizer.name, tokenizer.name],
    ['vocabularySize', manifest.tokenizer.vocabularySize, tokenizer.vocabularySize],
    ['sequenceLength', manifest.packing.sequenceLength, limits.sequenceLength],
    ['tokensPerImage', manifest.packing.tokensPerImage, limits.tokensPerImage],
    ['imagesPerSequence', manifest.packing.imagesPerSequence, limits.imagesPerSequence],
    ['pairs', manifest.packing.pairs, limits.pairs],
    ['views of a picture', manifest.packing.viewsPerPicture, limits.viewsPerPicture],
  ].find(([, indexed, wanted]) => indexed !== wanted);
  if (differing === undefined) return;
  const [field, indexed, wanted] = differing;
  throw new WeftError(
    'failed_precondition',
    `the data index ${directory} was made with ${field} ${indexed}, but this run has ${wanted}`,
    { hint: REINDEX },
  );
}

function checkNotEmpty(data: DataConfig, source: SourceId, manifest: IndexManifest): void {
  const { sequences } = ofSource(manifest.sources, source);
  const weight = ofSource(data.weights, source);
  if (sequences === 0 && weight > 0)
    throw new WeftError(
      'failed_precondition',
      `data.weights.${source} is ${weight}, but the data index holds no ${source} sequence`,
      { hint: `add ${source} shards and ${REINDEX}, or set data.weights.${source}=0` },
    );
}
