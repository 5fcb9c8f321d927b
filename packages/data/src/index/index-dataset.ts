import { join } from 'node:path';
import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import { type DataConfig, hasDefaultSources, type ModelConfig, type SourceKind } from '@weft/config';
import { buildDirectory, fileBytes, sha256OfFile } from '@weft/files';
import { openRunTokenizer } from '../formats/open-tokenizer.js';
import { listShards, SHARD_EXTENSIONS } from '../formats/source-shards.js';
import type { OnProgress } from '../progress.js';
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
  writeManifest,
} from './manifest.js';
import { entryBytesFor, TABLES } from './records.js';

/** The index after `indexDataset`. */
export interface IndexResult {
  /** The folder of the index. */
  readonly directory: string;
  /** False when the existing index already holds exactly these shards. */
  readonly built: boolean;
  readonly sources: PerSource<SourceManifest>;
}

/**
 * Reads the shards under `data.directory`, tokenizes them, packs them into sequences and writes the index for these
 * parameters. Every image is decoded once. Deterministic: the same shards and parameters give the same bytes. The index
 * replaces the old one when it is complete; an error leaves the old one, or none. A current index is kept.
 *
 * @param options.force build even when the index is current; default false
 * @throws WeftError `not_found` when a source with a positive weight has no shards; `corrupt_data` naming shard and
 * member; `invalid_argument` when the tokenizer's vocabulary is larger than the model's
 */
export async function indexDataset(options: {
  readonly data: DataConfig;
  readonly model: ModelConfig;
  readonly force?: boolean;
  readonly onProgress?: OnProgress;
}): Promise<IndexResult> {
  const { data, model } = options;
  const onProgress = options.onProgress ?? (() => undefined);
  const tokenizer = await openRunTokenizer({ data, model });
  const { name, vocabularySize, endOfTextId, padTokenId } = tokenizer;
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
      tokenizer: { name, vocabularySize, endOfTextId, padTokenId },
      packing: limits,
      entryBytes: entryBytesFor(vocabularySize),
      sources,
    };
    for (const [source, indexed] of Object.entries(sources)) checkNotEmpty(data, source, indexed);
    await writeManifest(unfinished, result);
    return result;
  });
  onProgress({ phase: 'index', what: 'index.json', done: total, total, unit: 'shards' });
  return { directory: folder, built: true, sources: manifest.sources };
}

/** Names, sizes and hashes of the shards of every source. */
async function hashShards(data: DataConfig, onProgress: OnProgress): Promise<PerSource<readonly IndexedShard[]>> {
  const names: Record<SourceId, readonly string[]> = {};
  for (const [source, kind] of Object.entries(data.sources)) {
    const found = await listShards(data.directory, source, kind);
    names[source] = found;
    if (found.length === 0 && ofSource(data.weights, source) > 0)
      throw new WeftError('not_found', `there are no ${source} shards in ${join(data.directory, source)}`, {
        hint: hasDefaultSources(data)
          ? `run weft data fetch demo, put shards there, or set data.weights.${source}=0`
          : `put ${SHARD_EXTENSIONS[kind].join(' or ')} files there, or set data.weights.${source}=0`,
      });
  }
  const total = shardCount(names);
  let done = 0;
  const hashed: Record<SourceId, readonly IndexedShard[]> = {};
  for (const [source, shards] of Object.entries(names)) {
    const found: IndexedShard[] = [];
    for (const name of shards) {
      const path = join(data.directory, source, name);
      onProgress({ phase: 'verify', what: `${source}/${name}`, done: done++, total, unit: 'shards' });
      const sha256 = await sha256OfFile(path);
      found.push({ name, bytes: (await fileBytes(path)) ?? 0, sha256 });
    }
    hashed[source] = found;
  }
  return hashed;
}

const shardCount = (shards: PerSource<readonly unknown[]>) =>
  Object.values(shards).reduce((sum, { length }) => sum + length, 0);

/** The manifest in `folder` when it is complete and was made from exactly these shards. */
async function currentIndex(
  folder: string,
  shards: PerSource<readonly IndexedShard[]>,
): Promise<IndexManifest | undefined> {
  const found = await readManifest(folder).catch(() => undefined);
  if (found === undefined) return undefined;
  const { manifest } = found;
  const indexed = mapSources(manifest.sources, (source) => source.shards);
  if (JSON.stringify(indexed) !== JSON.stringify(shards)) return undefined;
  for (const [source, { files }] of Object.entries(manifest.sources))
    for (const table of TABLES)
      if ((await fileBytes(join(folder, tableFile(source, table)))) !== files[table].bytes) return undefined;
  return manifest;
}

/** @throws WeftError `not_found` when a source with a positive weight has no document */
function checkNotEmpty(data: DataConfig, source: SourceId, manifest: SourceManifest): void {
  if (manifest.sequences === 0 && ofSource(data.weights, source) > 0)
    throw new WeftError('not_found', `the ${source} shards in ${join(data.directory, source)} hold no document`, {
      hint: `add documents, or set data.weights.${source}=0`,
    });
}
