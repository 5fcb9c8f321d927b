import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type PerSource, perSource, WeftError } from '@weft/common';
import { type DataConfig, DEFAULT_SOURCE_KINDS, type ModelConfig } from '@weft/config';
import { isMissing } from '../files.js';
import type { PackingLimits } from '../packing/piece.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { TABLES, type Table } from './records.js';
import type { WrittenFile } from './table-writer.js';

export const INDEX_FORMAT_VERSION = 1;
export const REINDEX = 'run weft data index <recipe>';

export interface IndexedShard {
  /** File name in the folder of its source. */
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** What the index holds of one source. */
export interface SourceManifest {
  readonly shards: readonly IndexedShard[];
  readonly documents: number;
  readonly pieces: number;
  readonly sequences: number;
  /** Text tokens, the ends of documents included. */
  readonly textTokens: number;
  readonly images: number;
  /** Positions used in all sequences; sequences · sequenceLength would be a fill of 1. */
  readonly positions: number;
  readonly files: Readonly<Record<Table, WrittenFile>>;
}

/** `index.json`: how the index was packed, from which bytes, and into which. The same data give the same manifest. */
export interface IndexManifest {
  readonly formatVersion: typeof INDEX_FORMAT_VERSION;
  readonly tokenizer: {
    readonly name: string;
    readonly vocabularySize: number;
    readonly endOfTextId: number;
    readonly fillerId: number;
  };
  readonly packing: PackingLimits;
  readonly entryBytes: 2 | 4;
  readonly sources: PerSource<SourceManifest>;
}

export function packingLimits(data: DataConfig, model: ModelConfig): PackingLimits {
  return {
    sequenceLength: model.sequenceLength,
    tokensPerImage: model.connector.tokensPerImage,
    imagesPerSequence: data.imagesPerSequence,
  };
}

/**
 * The folder of the index for these parameters: `<data.directory>/index/bytes-T128-K4-I16`, and for sources of a run's own
 * a hash of their names and kinds behind it, so that runs with other sources on the same data keep their indexes.
 */
export function indexDirectory(data: DataConfig, tokenizer: Tokenizer, limits: PackingLimits): string {
  const { sequenceLength, tokensPerImage, imagesPerSequence } = limits;
  const sources = JSON.stringify(data.sources);
  const isDefault = sources === JSON.stringify(DEFAULT_SOURCE_KINDS);
  const suffix = isDefault ? '' : `-S${createHash('sha256').update(sources).digest('hex').slice(0, 8)}`;
  const name = `${tokenizer.name}-T${sequenceLength}-K${tokensPerImage}-I${imagesPerSequence}${suffix}`;
  return join(data.directory, 'index', name);
}

/** `captioned.tokens.bin` and so on. */
export function tableFile(source: string, table: Table): string {
  return `${source}.${table}.bin`;
}

export interface ReadManifest {
  readonly manifest: IndexManifest;
  /** SHA-256 of `index.json`: names the packed dataset, content included. */
  readonly identity: string;
}

/**
 * @throws `not_found` when there is no index with these parameters (the message names those there are),
 * `version_mismatch` for another format, `corrupt_data` when the file is not a manifest.
 */
export async function readManifest(folder: string): Promise<ReadManifest> {
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
  if (!isRecord(value)) throw damagedManifest(path, 'it is not a JSON object');
  if (value.formatVersion !== INDEX_FORMAT_VERSION)
    throw new WeftError(
      'version_mismatch',
      `${path} has format version ${JSON.stringify(value.formatVersion)}, this weft reads version ${INDEX_FORMAT_VERSION}`,
      { cure: REINDEX },
    );
  const identity = createHash('sha256').update(content).digest('hex');
  return { manifest: parseManifest(value, path), identity };
}

async function noIndex(folder: string): Promise<WeftError> {
  const others = (await readdir(join(folder, '..')).catch(() => [])).filter((name) => !name.startsWith('.')).sort();
  const there = others.length === 0 ? '' : ` (there are indexes for other parameters: ${others.join(', ')})`;
  return new WeftError('not_found', `there is no data index ${folder}${there}`, { cure: REINDEX });
}

function parseManifest(value: Readonly<Record<string, unknown>>, path: string): IndexManifest {
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
      fillerId: read.count(tokenizer, 'fillerId'),
    },
    packing: {
      sequenceLength: read.count(packing, 'sequenceLength'),
      tokensPerImage: read.count(packing, 'tokensPerImage'),
      imagesPerSequence: read.count(packing, 'imagesPerSequence'),
    },
    entryBytes: read.count(value, 'entryBytes') === 2 ? 2 : 4,
    sources: perSource(Object.keys(sources), (source) => parseSource(read, read.record(sources, source))),
  };
}

function parseSource(read: FieldReader, value: Readonly<Record<string, unknown>>): SourceManifest {
  const file = (record: Readonly<Record<string, unknown>>) => ({
    bytes: read.count(record, 'bytes'),
    sha256: read.text(record, 'sha256'),
  });
  const files = read.record(value, 'files');
  const [sequences, pieces, images, tokens] = TABLES.map((table) => file(read.record(files, table)));
  return {
    shards: read.list(value, 'shards').map((shard) => ({ name: read.text(shard, 'name'), ...file(shard) })),
    documents: read.count(value, 'documents'),
    pieces: read.count(value, 'pieces'),
    sequences: read.count(value, 'sequences'),
    textTokens: read.count(value, 'textTokens'),
    images: read.count(value, 'images'),
    positions: read.count(value, 'positions'),
    files: { sequences: sequences!, pieces: pieces!, images: images!, tokens: tokens! },
  };
}

/** Reads fields of known type out of parsed JSON, or says which one is not. */
class FieldReader {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  record(from: Readonly<Record<string, unknown>>, field: string): Readonly<Record<string, unknown>> {
    const value = from[field];
    if (!isRecord(value)) throw this.#wrong(field);
    return value;
  }

  list(from: Readonly<Record<string, unknown>>, field: string): readonly Readonly<Record<string, unknown>>[] {
    const value: unknown = from[field];
    if (!Array.isArray(value) || !value.every(isRecord)) throw this.#wrong(field);
    return value;
  }

  text(from: Readonly<Record<string, unknown>>, field: string): string {
    const value = from[field];
    if (typeof value !== 'string') throw this.#wrong(field);
    return value;
  }

  count(from: Readonly<Record<string, unknown>>, field: string): number {
    const value = from[field];
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw this.#wrong(field);
    return value;
  }

  #wrong(field: string): WeftError {
    return damagedManifest(this.#path, `its field "${field}" is missing or wrong`);
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function damagedManifest(path: string, reason: string): WeftError {
  return new WeftError('corrupt_data', `the data index ${path} is damaged: ${reason}`, { cure: REINDEX });
}
