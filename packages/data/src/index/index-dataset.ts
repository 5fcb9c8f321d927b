import { join } from 'node:path';
import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import type { DataConfig, ModelConfig, SourceKind } from '@weft/config';
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
  const folder = indexDirectory(data, tokenizer, limits);
  const shards = await hashShards(data, onProgress);
  if (options.force !== true) {
    const current = await currentIndex(folder, shards);
    if (current !== undefined) return { directory: folder, built: false, sources: current.sources };
  }

  const total = shardCount(shards);
  const manifest = await buildDirectory(folder, async (unfinished) => {
    let done = 0;
    const build = (source: SourceId, kind: SourceKind) =>
      indexSource({
        directory: data.directory,
        source,
        kind,
        shards: ofSource(shards, source),
        folder: unfinished,
        tokenizer,
        limits,
        onShard: ({ name }) =>
          onProgress({ phase: 'index', what: `${source}/${name}`, done: done++, total, unit: 'shards' }),
      });
    const sources: Record<SourceId, SourceManifest> = {};
    for (const [source, kind] of Object.entries(data.sources)) sources[source] = await build(source, kind);
    const result: IndexManifest = {
      formatVersion: INDEX_FORMAT_VERSION,
      tokenizer: describe(tokenizer),
      packing: limits,
      entryBytes: entryBytesFor(tokenizer.vocabularySize),
      sources,
    };
    for (const [source, each] of Object.entries(sources)) checkHolds(data, source, each);
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
  const names: Record<SourceId, readonly string[]> = {};
  for (const [source, kind] of Object.entries(data.sources)) {
    const found = await listShards(data.directory, source, kind);
    names[source] = found;
    if (found.length === 0 && ofSource(data.weights, source) > 0)
      throw new WeftError('not_found', `there are no ${source} shards in ${join(data.directory, source)}`, {
        cure: `run weft data fetch demo, put shards there, or set data.weights.${source}=0`,
      });
  }
  const total = shardCount(names);
  let done = 0;
  const hashed: Record<SourceId, IndexedShard[]> = {};
  for (const [source, shards] of Object.entries(names)) {
    const ofThis: IndexedShard[] = [];
    hashed[source] = ofThis;
    for (const name of shards) {
      const path = join(data.directory, source, name);
      onProgress({ phase: 'verify', what: `${source}/${name}`, done: done++, total, unit: 'shards' });
      const sha256 = await sha256OfFile(path);
      ofThis.push({ name, bytes: (await fileBytes(path)) ?? 0, sha256 });
    }
  }
  return hashed;
}

const shardCount = (shards: PerSource<readonly unknown[]>) =>
  Object.values(shards).reduce((sum, { length }) => sum + length, 0);

/** The manifest in `folder` when it is whole and was made from exactly these shards. */
async function currentIndex(
  folder: string,
  shards: PerSource<readonly IndexedShard[]>,
): Promise<IndexManifest | undefined> {
  const found = await readManifest(folder).catch(() => undefined);
  if (found === undefined) return undefined;
  const { manifest } = found;
  const madeFrom = mapSources(manifest.sources, (source) => source.shards);
  if (JSON.stringify(madeFrom) !== JSON.stringify(shards)) return undefined;
  for (const [source, { files }] of Object.entries(manifest.sources))
    for (const table of TABLES)
      if ((await fileBytes(join(folder, tableFile(source, table)))) !== files[table].bytes) return undefined;
  return manifest;
}

function checkHolds(data: DataConfig, source: SourceId, manifest: SourceManifest): void {
  if (manifest.sequences === 0 && ofSource(data.weights, source) > 0)
    throw new WeftError('not_found', `the ${source} shards in ${join(data.directory, source)} hold no document`, {
      cure: `add documents, or set data.weights.${source}=0`,
    });
}
