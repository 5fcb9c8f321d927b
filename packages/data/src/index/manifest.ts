import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isJsonObject, type JsonObject, mapSources, type PerSource, WeftError } from '@weft/common';
import { type DataConfig, hasDefaultSources, type ModelConfig } from '@weft/config';
import { isMissing, writeJsonFile } from '@weft/files';
import type { Tokenizer } from '../formats/tokenizer.js';
import type { PackingLimits } from './packed-sequence.js';
import type { EntryBytes, Table } from './records.js';

/** The version of the manifest and the tables. An index of another version is rebuilt. */
export const INDEX_FORMAT_VERSION = 1;
/** The hint of errors that a new index resolves. */
export const REINDEX = 'run weft data index <recipe>';

/** `index.json`: what the index was made from, with which parameters, and its tables. Deterministic. */
export interface IndexManifest {
  readonly formatVersion: typeof INDEX_FORMAT_VERSION;
  readonly tokenizer: Pick<Tokenizer, 'name' | 'vocabularySize' | 'endOfTextId' | 'padTokenId'>;
  readonly packing: PackingLimits;
  readonly entryBytes: EntryBytes;
  readonly sources: PerSource<SourceManifest>;
}

/** What the index holds of one source. */
export interface SourceManifest {
  readonly shards: readonly IndexedShard[];
  readonly documents: number;
  readonly segments: number;
  readonly sequences: number;
  /** Text tokens, including the end of every document. */
  readonly textTokens: number;
  readonly images: number;
  /** Used positions of all sequences, at most sequences · sequenceLength. */
  readonly positions: number;
  readonly files: Readonly<Record<Table, WrittenFile>>;
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

/** The limits of the sequences of a run. */
export function packingLimits(data: DataConfig, model: ModelConfig): PackingLimits {
  return {
    sequenceLength: model.sequenceLength,
    tokensPerImage: model.connector.tokensPerImage,
    imagesPerSequence: data.imagesPerSequence,
  };
}

/**
 * The folder of the index for these parameters: `<data.directory>/index/bytes-T128-K4-I16`. For other than the default
 * sources a hash of their names and kinds follows, `-S1a2b3c4d`, so that runs with different sources keep their indexes.
 */
export function indexDirectory(data: DataConfig, tokenizer: Tokenizer, limits: PackingLimits): string {
  const { sequenceLength, tokensPerImage, imagesPerSequence } = limits;
  const parameters = `${tokenizer.name}-T${sequenceLength}-K${tokensPerImage}-I${imagesPerSequence}`;
  return join(data.directory, 'index', hasDefaultSources(data) ? parameters : `${parameters}-S${sourcesHash(data)}`);
}

const sourcesHash = ({ sources }: DataConfig) =>
  createHash('sha256').update(JSON.stringify(sources)).digest('hex').slice(0, 8);

/** `captioned.tokens.bin` and so on. Format 1 calls the table of segments `pieces`. */
export function tableFile(source: string, table: Table): string {
  return `${source}.${table === 'segments' ? 'pieces' : table}.bin`;
}

/**
 * Writes `index.json` into `folder`. Its hash is the identity of the dataset, so it keeps the names of format 1:
 * `pieces` for segments and `fillerId` for `padTokenId`.
 */
export async function writeManifest(folder: string, manifest: IndexManifest): Promise<void> {
  const { formatVersion, tokenizer, packing, entryBytes, sources } = manifest;
  const { name, vocabularySize, endOfTextId, padTokenId: fillerId } = tokenizer;
  await writeJsonFile(join(folder, 'index.json'), {
    formatVersion,
    tokenizer: { name, vocabularySize, endOfTextId, fillerId },
    packing,
    entryBytes,
    sources: mapSources(sources, ({ shards, documents, segments: pieces, files, ...counts }) => {
      const { sequences, segments, images, tokens } = files;
      return { shards, documents, pieces, ...counts, files: { sequences, pieces: segments, images, tokens } };
    }),
  });
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
  let content: string;
  try {
    content = await readFile(path, 'utf8');
  } catch (thrown) {
    if (!isMissing(thrown)) throw WeftError.from(thrown);
    throw await noIndex(folder);
  }
  let value: unknown;
  try {
    value = JSON.parse(content);
  } catch {
    value = undefined;
  }
  if (!isJsonObject(value)) throw damagedManifest(path, 'it is not a JSON object');
  if (value.formatVersion !== INDEX_FORMAT_VERSION)
    throw new WeftError(
      'version_mismatch',
      `${path} has format version ${JSON.stringify(value.formatVersion)}, this weft reads version ${INDEX_FORMAT_VERSION}`,
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
    formatVersion: INDEX_FORMAT_VERSION,
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
    },
    entryBytes: read.count(value, 'entryBytes') === 2 ? 2 : 4,
    sources: mapSources(sources, (_, source) => parseSource(read, read.record(sources, source))),
  };
}

function parseSource(read: FieldReader, value: JsonObject): SourceManifest {
  const file = (record: JsonObject) => ({
    bytes: read.count(record, 'bytes'),
    sha256: read.text(record, 'sha256'),
  });
  const files = read.record(value, 'files');
  const table = (name: string) => file(read.record(files, name));
  return {
    shards: read.list(value, 'shards').map((shard) => ({ name: read.text(shard, 'name'), ...file(shard) })),
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
