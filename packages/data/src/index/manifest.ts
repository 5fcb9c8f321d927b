import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { isJsonObject, type JsonObject, mapSources, type PerSource, WeftError } from '@weft/common';
import {
  type DataConfig,
  DEFAULT_CHAT_TEMPLATE,
  DEFAULT_DATASET,
  DEFAULT_TASK,
  datasetSettings,
  hasDefaultSources,
  isEncoderTask,
  type ModelConfig,
  type TaskConfig,
  viewsPerPicture,
} from '@weft/config';
import { diskStore, isRemote, joinPath, readText, writeJsonFile } from '@weft/files';
import type { IndexVersion } from '@weft/mixture';
import type { Tokenizer } from '../formats/tokenizer.js';
import type { PackingLimits } from './packed-sequence.js';
import type { EntryBytes, Table } from './records.js';

/** The version of the manifest and the tables. An index of an unknown version is rebuilt. */
export const INDEX_FORMAT_VERSION = 1;
/** That of an index that has grown: what knows version 1 alone would read half of it. */
export const GROWN_FORMAT_VERSION = 2;
/** Of some 400,000 shards. */
const MOST_MANIFEST_BYTES = 64 * 1024 * 1024;
/** The hint of errors that a new index resolves. */
export const REINDEX = 'run weft data index <recipe>';

/** `index.json`: what the index was made from, with which parameters, and its tables. Deterministic. */
export interface IndexManifest {
  readonly formatVersion: typeof INDEX_FORMAT_VERSION | typeof GROWN_FORMAT_VERSION;
  /** The identities of the index before it grew, the oldest first: of its versions 1, 2 and so on without the newest. */
  readonly formerIdentities: readonly string[];
  readonly tokenizer: Pick<Tokenizer, 'name' | 'vocabularySize' | 'endOfTextId' | 'padTokenId'>;
  readonly packing: PackingLimits;
  readonly entryBytes: EntryBytes;
  readonly sources: PerSource<SourceManifest>;
}

/** What the index holds of one source. */
export interface SourceManifest extends SourceCounts {
  /** Those of later parts follow those of earlier ones. */
  readonly shards: readonly IndexedShard[];
  /** The tables of what the first version holds. */
  readonly files: Readonly<Record<Table, WrittenFile>>;
  /** What was added when the source grew, in rising order; its numbers go on from those before. */
  readonly later: readonly SourcePart[];
}

/** What one version of an index adds to a source. */
export interface SourcePart extends SourceCounts {
  /** From 2. */
  readonly version: number;
  readonly files: Readonly<Record<Table, WrittenFile>>;
}

export interface SourceCounts {
  readonly documents: number;
  readonly segments: number;
  readonly sequences: number;
  /** Text tokens, including the end of every document. */
  readonly textTokens: number;
  readonly images: number;
  /** Used positions of all sequences, at most sequences · sequenceLength. */
  readonly positions: number;
}

/** The versions of an index: how many sequences each holds of every source. */
export function versionsOf({ formerIdentities, sources }: IndexManifest): readonly IndexVersion[] {
  return Array.from({ length: formerIdentities.length + 1 }, (_, at) => ({
    sequences: mapSources(sources, ({ sequences, later }) =>
      later.reduce((rest, part) => (part.version > at + 1 ? rest - part.sequences : rest), sequences),
    ),
  }));
}

/** The parts of a source, the one of the first version too. */
export function partsOf({ shards: _, later, files, ...total }: SourceManifest): readonly SourcePart[] {
  const first = Object.fromEntries(
    Object.entries(total).map(([count, of]) => [
      count,
      later.reduce((rest, part) => rest - part[count as keyof SourceCounts], of),
    ]),
  ) as unknown as SourceCounts;
  return [{ ...first, version: 1, files }, ...later];
}

/** Size and SHA-256 of a file. */
export interface WrittenFile {
  readonly bytes: number;
  readonly sha256: string;
}

/** A shard as it was when it was indexed. */
export interface IndexedShard extends WrittenFile {
  /** File name in the folder of its source. */
  readonly name: string;
}

/** What of a run its index depends on. */
export interface DatasetConfig {
  readonly data: DataConfig;
  readonly model: ModelConfig;
  /** Default: a language model. */
  readonly task?: TaskConfig;
}

/** The limits of the sequences of a run. Of a pair the image counts as one position, before those of the caption. */
export function packingLimits({ data, model, task = DEFAULT_TASK }: DatasetConfig): PackingLimits {
  if (isEncoderTask(task))
    return {
      ...{ sequenceLength: model.sequenceLength + 1, tokensPerImage: 1, imagesPerSequence: 1, viewsPerPicture: 1 },
      pairs: true,
    };
  return {
    sequenceLength: model.sequenceLength,
    tokensPerImage: model.connector.tokensPerImage,
    imagesPerSequence: data.imagesPerSequence,
    viewsPerPicture: viewsPerPicture(data.images),
  };
}

/**
 * The folder of the index for these parameters, in `data.index`, where it is not shared (see `findIndexFolder`): `<data.directory>/index/bytes-T128-K4-I16`, and `bytes-pairs77` for pairs
 * with captions of up to 77 tokens. For other than the default
 * sources a hash of their names and kinds follows, `-S1a2b3c4d`, so that runs with different sources keep their indexes.
 * `-V5` says into how many images a picture is cut, `-C1a2b3c4d` is of a chat template other than the default, `-D1a2b3c4d` of
 * settings of datasets.
 */
export function indexDirectory(data: DataConfig, tokenizer: Tokenizer, limits: PackingLimits): string {
  const { sequenceLength, tokensPerImage, imagesPerSequence, viewsPerPicture, pairs } = limits;
  const packing = pairs ? `pairs${sequenceLength - 1}` : `T${sequenceLength}-K${tokensPerImage}-I${imagesPerSequence}`;
  const name = [
    `${tokenizer.name}-${packing}`,
    viewsPerPicture === 1 ? '' : `-V${viewsPerPicture}`,
    hasDefaultSources(data) ? '' : `-S${shortHash(data.sources)}`,
    hasConversations(data) && !isDeepStrictEqual(data.chatTemplate, DEFAULT_CHAT_TEMPLATE)
      ? `-C${shortHash(data.chatTemplate)}`
      : '',
    readingSettings(data).length === 0 ? '' : `-D${shortHash(readingSettings(data))}`,
  ];
  return join(indexFolder(data), name.join(''));
}

/** @throws WeftError `invalid_argument` for data at an address without a folder for their index */
function indexFolder({ index, directory }: Pick<DataConfig, 'index' | 'directory'>): string {
  if (index !== null) return index;
  if (!isRemote(directory)) return join(directory, 'index');
  throw new WeftError('invalid_argument', `data.directory is ${directory}, where no index can be written`, {
    hint: 'set data.index to a folder that all hosts see',
  });
}

/** What is set for the datasets of a run and changes what is read of them, by dataset and field. */
function readingSettings(data: Pick<DataConfig, 'sources' | 'datasets'>): unknown[] {
  return Object.keys(data.sources).flatMap((source) => {
    // Where it lies, which files of it are meant and how often it is read changes nothing in the index.
    const {
      directory: _,
      shards: _____,
      source: __,
      weight: ___,
      epochs: ____,
      ...settings
    } = datasetSettings(data, source);
    return Object.entries(settings)
      .filter(([field, value]) => value !== DEFAULT_DATASET[field as keyof typeof settings])
      .map((set) => [source, ...set]);
  });
}

/** The folder of the shards of a dataset. */
export function datasetFolder(data: Pick<DataConfig, 'directory' | 'datasets'>, name: string): string {
  return datasetSettings(data, name).directory ?? joinPath(data.directory, name);
}

/** Whether some source is of kind `conversations`. */
export function hasConversations({ sources }: Pick<DataConfig, 'sources'>): boolean {
  return Object.values(sources).includes('conversations');
}

const shortHash = (value: unknown) => createHash('sha256').update(JSON.stringify(value)).digest('hex').slice(0, 8);

/** `captioned.tokens.bin` and so on; `captioned.2.tokens.bin` is of what version 2 adds. Format 1 calls the table of segments `pieces`. */
export function tableFile(source: string, table: Table, version = 1): string {
  return `${source}.${version === 1 ? '' : `${version}.`}${table === 'segments' ? 'pieces' : table}.bin`;
}

/**
 * Writes `index.json` into `folder`. Its hash is the identity of the dataset, so it keeps the names of format 1:
 * `pieces` for segments and `fillerId` for `padTokenId`.
 */
export async function writeManifest(folder: string, manifest: IndexManifest): Promise<void> {
  const { tokenizer, entryBytes, sources, formerIdentities } = manifest;
  const hasGrown = formerIdentities.length > 0;
  const { viewsPerPicture, ...limits } = manifest.packing;
  const packing = viewsPerPicture === 1 ? limits : manifest.packing;
  const { name, vocabularySize, endOfTextId, padTokenId: fillerId } = tokenizer;
  await writeJsonFile(join(folder, 'index.json'), {
    formatVersion: hasGrown ? GROWN_FORMAT_VERSION : INDEX_FORMAT_VERSION,
    ...(hasGrown ? { formerIdentities } : {}),
    tokenizer: { name, vocabularySize, endOfTextId, fillerId },
    packing,
    entryBytes,
    sources: mapSources(sources, ({ shards, later, ...whole }) => ({
      shards,
      ...writtenPart(whole),
      ...(later.length === 0
        ? {}
        : { later: later.map(({ version, ...part }) => ({ version, ...writtenPart(part) })) }),
    })),
  });
}

function writtenPart({
  documents,
  segments: pieces,
  files,
  ...counts
}: SourceCounts & Pick<SourcePart, 'files'>): object {
  const { sequences, segments, images, tokens } = files;
  return { documents, pieces, ...counts, files: { sequences, pieces: segments, images, tokens } };
}

/**
 * @returns the manifest, and the SHA-256 of `index.json`: the identity of the packed dataset including its content
 * @throws WeftError `not_found` when there is no index with these parameters (the message lists those there are),
 * `version_mismatch` for another format, `corrupt_data` when the file is not a manifest
 */
export async function readManifest(
  folder: string,
): Promise<{ readonly manifest: IndexManifest; readonly identity: string }> {
  const path = join(folder, 'index.json');
  const content = await readText(diskStore, path, MOST_MANIFEST_BYTES).catch(async (thrown: unknown) => {
    if (WeftError.is(thrown, 'not_found')) throw await noIndex(folder);
    throw WeftError.is(thrown, 'corrupt_data') ? damagedManifest(path, thrown.message) : thrown;
  });
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    value = undefined;
  }
  if (!isJsonObject(value)) throw damagedManifest(path, 'it is not a JSON object');
  if (value.formatVersion !== INDEX_FORMAT_VERSION && value.formatVersion !== GROWN_FORMAT_VERSION)
    throw new WeftError(
      'version_mismatch',
      `${path} has format version ${JSON.stringify(value.formatVersion)}, this weft reads versions ${INDEX_FORMAT_VERSION} and ${GROWN_FORMAT_VERSION}`,
      { hint: REINDEX },
    );
  const identity = createHash('sha256').update(content).digest('hex');
  return { manifest: parseManifest(value, path), identity };
}

async function noIndex(folder: string): Promise<WeftError> {
  const others = (await readdir(join(folder, '..')).catch(() => [])).filter((name) => !name.startsWith('.')).sort();
  const there = others.length === 0 ? '' : ` (there are indexes for other parameters: ${others.join(', ')})`;
  return new WeftError('not_found', `there is no data index ${folder}${there}`, { hint: REINDEX });
}

function parseManifest(value: JsonObject, path: string): IndexManifest {
  const read = new FieldReader(path);
  const tokenizer = read.record(value, 'tokenizer');
  const packing = read.record(value, 'packing');
  const sources = read.record(value, 'sources');
  return {
    formatVersion: value.formatVersion === GROWN_FORMAT_VERSION ? GROWN_FORMAT_VERSION : INDEX_FORMAT_VERSION,
    formerIdentities: value.formerIdentities === undefined ? [] : read.texts(value, 'formerIdentities'),
    tokenizer: {
      name: read.text(tokenizer, 'name'),
      vocabularySize: read.count(tokenizer, 'vocabularySize'),
      endOfTextId: read.count(tokenizer, 'endOfTextId'),
      padTokenId: read.count(tokenizer, 'fillerId'),
    },
    packing: {
      sequenceLength: read.count(packing, 'sequenceLength'),
      tokensPerImage: read.count(packing, 'tokensPerImage'),
      imagesPerSequence: read.count(packing, 'imagesPerSequence'),
      ...(packing.pairs === true ? { pairs: true } : {}),
      // Indexes of whole pictures do not say so.
      viewsPerPicture: packing.viewsPerPicture === undefined ? 1 : read.count(packing, 'viewsPerPicture'),
    },
    entryBytes: read.count(value, 'entryBytes') === 2 ? 2 : 4,
    sources: mapSources(sources, (_, source) => parseSource(read, read.record(sources, source))),
  };
}

function parseSource(read: FieldReader, value: JsonObject): SourceManifest {
  const later = value.later === undefined ? [] : read.list(value, 'later');
  return {
    shards: read.list(value, 'shards').map((shard) => ({ name: read.text(shard, 'name'), ...parseFile(read, shard) })),
    ...parsePart(read, value),
    later: later.map((part) => ({ version: read.count(part, 'version'), ...parsePart(read, part) })),
  };
}

const parseFile = (read: FieldReader, record: JsonObject): WrittenFile => ({
  bytes: read.count(record, 'bytes'),
  sha256: read.text(record, 'sha256'),
});

function parsePart(read: FieldReader, value: JsonObject): Omit<SourcePart, 'version'> {
  const files = read.record(value, 'files');
  const table = (name: string) => parseFile(read, read.record(files, name));
  return {
    documents: read.count(value, 'documents'),
    segments: read.count(value, 'pieces'),
    sequences: read.count(value, 'sequences'),
    textTokens: read.count(value, 'textTokens'),
    images: read.count(value, 'images'),
    positions: read.count(value, 'positions'),
    files: {
      sequences: table('sequences'),
      segments: table('pieces'),
      images: table('images'),
      tokens: table('tokens'),
    },
  };
}

/** Reads fields of a known type from parsed JSON; throws `corrupt_data` naming a field of another type. */
class FieldReader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  record(from: JsonObject, field: string): JsonObject {
    const value = from[field];
    if (!isJsonObject(value)) throw this.#wrong(field);
    return value;
  }

  list(from: JsonObject, field: string): readonly JsonObject[] {
    const value: unknown = from[field];
    if (!Array.isArray(value) || !value.every(isJsonObject)) throw this.#wrong(field);
    return value;
  }

  texts(from: JsonObject, field: string): readonly string[] {
    const value: unknown = from[field];
    if (!Array.isArray(value) || !value.every((each) => typeof each === 'string')) throw this.#wrong(field);
    return value;
  }

  text(from: JsonObject, field: string): string {
    const value = from[field];
    if (typeof value !== 'string') throw this.#wrong(field);
    return value;
  }

  count(from: JsonObject, field: string): number {
    const value = from[field];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw this.#wrong(field);
    return value;
  }

  #wrong(field: string): WeftError {
    return damagedManifest(this.#path, `its field "${field}" is missing or wrong`);
  }
}

function damagedManifest(path: string, reason: string): WeftError {
  return new WeftError('corrupt_data', `the data index ${path} is damaged: ${reason}`, { hint: REINDEX });
}
