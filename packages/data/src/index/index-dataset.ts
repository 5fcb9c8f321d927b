import { join } from 'node:path';
import { type PerSource, perSource, SOURCES, type Source, WeftError } from '@weft/common';
import type { DataConfig, ModelConfig } from '@weft/config';
import { buildDirectory, writeFileAtomically } from '@weft/files';
import { fileBytes, sha256OfFile } from '../files.js';
import type { OnProgress } from '../progress.js';
import { listShards } from '../shards/list-shards.js';
import { openTokenizer, type Tokenizer } from '../tokenizer/tokenizer.js';
import { checkVocabulary } from './check-vocabulary.js';
import { indexSource } from './index-source.js';
import {
  INDEX_FORMAT_VERSION,
  type IndexedShard,
  type IndexManifest,
  indexDirectory,
  packingLimits,
  readManifest,
  type SourceManifest,
  tableFile,
} from './manifest.js';
import { entryBytesFor, TABLES } from './records.js';

export interface IndexResult {
  /** The folder of the index. */
  readonly directory: string;
  /** False when the index that was there already holds exactly these shards. */
  readonly built: boolean;
  readonly sources: PerSource<SourceManifest>;
}

/**
 * Reads the shards under `data.directory`, tokenizes them, packs them into sequences and writes the index for these
 * parameters. Every image is decoded once. The same shards and parameters give the same bytes. The index appears
 * under its name only when it is whole; an error leaves the old one, or none. An index that is current is kept.
 *
 * @param options.force build even when the index is current.
 * @throws `not_found` when a source with a positive weight has no shards; `corrupt_data` naming shard and member;
 * `invalid_argument` when the tokenizer's vocabulary is larger than the model's.
 */
export async function indexDataset(options: {
  readonly data: DataConfig;
  readonly model: ModelConfig;
  readonly force?: boolean;
  readonly onProgress?: OnProgress;
}): Promise<IndexResult> {
  const { data, model } = options;
  const onProgress = options.onProgress ?? (() => undefined);
  const tokenizer = await openTokenizer(data.tokenizer);
  checkVocabulary(tokenizer.name, tokenizer.vocabularySize, model);
  const limits = packingLimits(data, model);
  const folder = indexDirectory(data.directory, tokenizer, limits);
  const shards = await hashShards(data, onProgress);
  if (options.force !== true) {
    const current = await currentIndex(folder, shards);
    if (current !== undefined) return { directory: folder, built: false, sources: current.sources };
  }

  const total = SOURCES.reduce((sum, source) => sum + shards[source].length, 0);
  const manifest = await buildDirectory(folder, async (unfinished) => {
    let done = 0;
    const build = (source: Source) =>
      indexSource({
        directory: data.directory,
        source,
        shards: shards[source],
        folder: unfinished,
        tokenizer,
        limits,
        onShard: ({ name }) =>
          onProgress({ phase: 'index', what: `${source}/${name}`, done: done++, total, unit: 'shards' }),
      });
    const result: IndexManifest = {
      formatVersion: INDEX_FORMAT_VERSION,
      tokenizer: describe(tokenizer),
      packing: limits,
      entryBytes: entryBytesFor(tokenizer.vocabularySize),
      sources: {
        captioned: await build('captioned'),
        interleaved: await build('interleaved'),
        text: await build('text'),
      },
    };
    for (const source of SOURCES) checkHolds(data, source, result.sources[source]);
    await writeFileAtomically(join(unfinished, 'index.json'), `${JSON.stringify(result, null, 2)}\n`);
    return result;
  });
  onProgress({ phase: 'index', what: 'index.json', done: total, total, unit: 'shards' });
  return { directory: folder, built: true, sources: manifest.sources };
}

function describe({ name, vocabularySize, endOfTextId, fillerId }: Tokenizer): IndexManifest['tokenizer'] {
  return { name, vocabularySize, endOfTextId, fillerId };
}

/** Names, sizes and hashes of the shards of every source. */
async function hashShards(data: DataConfig, onProgress: OnProgress): Promise<PerSource<readonly IndexedShard[]>> {
  const names = {
    captioned: await listShards(data.directory, 'captioned'),
    interleaved: await listShards(data.directory, 'interleaved'),
    text: await listShards(data.directory, 'text'),
  };
  for (const source of SOURCES) {
    if (names[source].length === 0 && data.weights[source] > 0)
      throw new WeftError('not_found', `there are no ${source} shards in ${join(data.directory, source)}`, {
        cure: `run weft data fetch demo, put shards there, or set data.weights.${source}=0`,
      });
  }
  const total = SOURCES.reduce((sum, source) => sum + names[source].length, 0);
  let done = 0;
  const hashed: Record<Source, IndexedShard[]> = { captioned: [], interleaved: [], text: [] };
  for (const source of SOURCES) {
    for (const name of names[source]) {
      const path = join(data.directory, source, name);
      onProgress({ phase: 'verify', what: `${source}/${name}`, done: done++, total, unit: 'shards' });
      const sha256 = await sha256OfFile(path);
      hashed[source].push({ name, bytes: (await fileBytes(path)) ?? 0, sha256 });
    }
  }
  return hashed;
}

/** The manifest in `folder` when it is whole and was made from exactly these shards. */
async function currentIndex(
  folder: string,
  shards: PerSource<readonly IndexedShard[]>,
): Promise<IndexManifest | undefined> {
  const found = await readManifest(folder).catch(() => undefined);
  if (found === undefined) return undefined;
  const { manifest } = found;
  const madeFrom = perSource((source) => manifest.sources[source].shards);
  if (JSON.stringify(madeFrom) !== JSON.stringify(perSource((source) => shards[source]))) return undefined;
  for (const source of SOURCES)
    for (const table of TABLES)
      if ((await fileBytes(join(folder, tableFile(source, table)))) !== manifest.sources[source].files[table].bytes)
        return undefined;
  return manifest;
}

function checkHolds(data: DataConfig, source: Source, manifest: SourceManifest): void {
  if (manifest.sequences === 0 && data.weights[source] > 0)
    throw new WeftError('not_found', `the ${source} shards in ${join(data.directory, source)} hold no document`, {
      cure: `add documents, or set data.weights.${source}=0`,
    });
}
