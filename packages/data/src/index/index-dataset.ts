import { constants } from 'node:fs';
import { access, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mapSources, ofSource, type PerSource, type SourceId, systemErrorCode, WeftError } from '@weft/common';
import { type DataConfig, datasetSettings, hasDefaultSources, type SourceKind } from '@weft/config';
import {
  type BlobStatus,
  buildDirectory,
  fileBytes,
  isRemote,
  joinPath,
  makeDirectory,
  type ShardStore,
  withKnown,
} from '@weft/files';
import { shardStore } from '@weft/remote';
import { besideSources, findShards, SHARD_EXTENSIONS } from '../formats/find-shards.js';
import type { LeftOut, LeftOutReason } from '../formats/left-out.js';
import { openRunTokenizer } from '../formats/open-tokenizer.js';
import type { Tokenizer } from '../formats/tokenizer.js';
import type { OnProgress } from '../progress.js';
import { indexSource } from './index-source.js';
import { indexedVersions, type ShardSamples, sampleOfVersion, sha256OfShard } from './known-shards.js';
import { LeftOutFile, readLeftOut } from './left-out-file.js';
import {
  type DatasetConfig,
  datasetFolder,
  hasConversations,
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
import { readShardSamples, sampleOf, writeShardSamples } from './shard-samples.js';

/** The index after `indexDataset`. */
export interface IndexResult {
  /** The folder of the index. */
  readonly directory: string;
  /** False when the existing index already holds exactly these shards. */
  readonly built: boolean;
  readonly sources: PerSource<SourceManifest>;
  /** What lies in the data directory and is not in the index, by reason. The file `left-out.jsonl` of the index names all. */
  readonly leftOut: readonly LeftOutReason[];
}

type IndexOptions = DatasetConfig & { readonly force?: boolean; readonly onProgress?: OnProgress };

/**
 * Reads the shards under `data.directory`, tokenizes them, packs them into sequences and writes the index for these
 * parameters. Every image is decoded once. Deterministic: the same shards and parameters give the same bytes. The index
 * replaces the old one when it is complete; an error leaves the old one, or none. A current index is kept.
 *
 * @param options.force build even when the index is current; default false
 * @throws WeftError `not_found` when a source with a positive weight has no shards; `corrupt_data` naming shard and
 * member; `invalid_argument` when the tokenizer's vocabulary is larger than the model's
 */
export async function indexDataset(options: IndexOptions): Promise<IndexResult> {
  const onProgress = options.onProgress ?? (() => undefined);
  const tokenizer = await openRunTokenizer(options);
  const folder = indexDirectory(options.data, tokenizer, packingLimits(options));
  const parent = dirname(folder);
  const missing = await missingFolders(parent);
  try {
    if ((await readManifest(folder).catch(() => undefined)) === undefined) await checkWritable(parent);
    return await indexInto(folder, { ...options, onProgress }, tokenizer);
  } catch (thrown) {
    // They were made to see whether the index can be written.
    for (const made of missing) await rmdir(made).catch(() => undefined);
    throw thrown;
  }
}

/** A folder and those above it that are not there yet, the innermost first. */
async function missingFolders(folder: string): Promise<readonly string[]> {
  const missing: string[] = [];
  const isThere = (path: string) =>
    stat(path).then(
      () => true,
      () => path === dirname(path),
    );
  for (let path = folder; !(await isThere(path)); path = dirname(path)) missing.push(path);
  return missing;
}

/** As `indexDataset`, into a folder that can be written. */
async function indexInto(
  folder: string,
  options: IndexOptions & { readonly onProgress: OnProgress },
  tokenizer: Tokenizer,
): Promise<IndexResult> {
  const { data, onProgress } = options;
  const { name, vocabularySize, endOfTextId, padTokenId } = tokenizer;
  const limits = packingLimits(options);
  const { shards, samples, leftOut, store } = await hashShards(data, folder, onProgress);
  if (options.force !== true) {
    const current = await currentIndex(folder, shards);
    if (current !== undefined) {
      const found = await readLeftOut(folder, leftOut);
      return { directory: folder, built: false, sources: current.sources, leftOut: found };
    }
  }

  const total = shardCount(shards);
  const { manifest, left } = await buildDirectory(folder, async (unfinished) => {
    let done = 0;
    const leftOutFile = new LeftOutFile(unfinished, leftOut);
    const build = (source: SourceId, kind: SourceKind) =>
      indexSource({
        directory: datasetFolder(data, source),
        settings: datasetSettings(data, source),
        source,
        kind,
        entryBytes: entryBytesFor(vocabularySize, hasConversations(data)),
        chatTemplate: data.chatTemplate,
        shards: ofSource(shards, source),
        store,
        folder: unfinished,
        tokenizer,
        limits,
        onShard: ({ name }) =>
          onProgress({ phase: 'index', what: `${source}/${name}`, done: done++, total, unit: 'shards' }),
        onLeftOut: (what) => leftOutFile.add(what),
      });
    const sources: Record<SourceId, SourceManifest> = {};
    for (const [source, kind] of Object.entries(data.sources)) sources[source] = await build(source, kind);
    const result: IndexManifest = {
      formatVersion: INDEX_FORMAT_VERSION,
      tokenizer: { name, vocabularySize, endOfTextId, padTokenId },
      packing: limits,
      entryBytes: entryBytesFor(vocabularySize, hasConversations(data)),
      sources,
    };
    for (const [source, indexed] of Object.entries(sources)) checkNotEmpty(data, source, indexed);
    leftOutFile.finish();
    await writeShardSamples(unfinished, samples);
    await writeManifest(unfinished, result);
    return { manifest: result, left: leftOutFile.counts.reasons };
  });
  onProgress({ phase: 'index', what: 'index.json', done: total, total, unit: 'shards' });
  return { directory: folder, built: true, sources: manifest.sources, leftOut: left };
}

/**
 * Before hours are spent on shards.
 *
 * @throws WeftError `failed_precondition` when the index cannot be written into the folder
 */
async function checkWritable(folder: string): Promise<void> {
  try {
    await makeDirectory(folder);
    await access(folder, constants.W_OK);
  } catch (thrown) {
    const { code, message } = WeftError.from(thrown);
    const reason = REASONS[systemErrorCode(WeftError.is(thrown) ? (thrown.cause ?? thrown) : thrown) ?? ''] ?? message;
    throw new WeftError(
      code === 'internal' ? 'failed_precondition' : code,
      `the packed index cannot be written to ${folder}: ${reason}`,
      { hint: 'set data.index to a folder that can be written', cause: thrown },
    );
  }
}

const REASONS: Readonly<Record<string, string>> = {
  EACCES: 'this user may not write there',
  EPERM: 'this user may not write there',
  EROFS: 'the file system is read-only',
  ENOTDIR: 'a part of the path is a file',
  EEXIST: 'there is a file of that name',
};

/** Names, sizes and hashes of the shards of every source, and the files and folders that are none. */
async function hashShards(
  data: DataConfig,
  index: string,
  onProgress: OnProgress,
): Promise<{
  readonly shards: PerSource<readonly IndexedShard[]>;
  readonly samples: ShardSamples;
  readonly leftOut: readonly LeftOut[];
  /** Knows what was told of shards at addresses while they were looked for. */
  readonly store: ShardStore;
}> {
  const known = new Map<string, BlobStatus>();
  const store = withKnown(shardStore(data.remote), known);
  const leftOut: LeftOut[] = [...(await besideSources(data.directory, Object.keys(data.sources), data.index, store))];
  const names: Record<SourceId, readonly string[]> = {};
  for (const [source, kind] of Object.entries(data.sources)) {
    const folder = datasetFolder(data, source);
    const found = await findShards({ folder, source, kind, shards: datasetSettings(data, source).shards }, store);
    names[source] = found.shards;
    for (const [name, status] of found.statuses) known.set(joinPath(folder, name), status);
    leftOut.push(...found.leftOut);
    if (found.shards.length === 0 && ofSource(data.weights, source) > 0)
      throw new WeftError('not_found', `there are no ${source} shards in ${datasetFolder(data, source)}`, {
        hint: hasDefaultSources(data)
          ? `run weft data fetch demo, put shards there, or set data.weights.${source}=0`
          : `put ${SHARD_EXTENSIONS[kind].slice(0, 2).join(' or ')} files there, or set data.weights.${source}=0`,
      });
  }
  const total = shardCount(names);
  let done = 0;
  const former = await formerIndex(index);
  const hashed: Record<SourceId, readonly IndexedShard[]> = {};
  const samples: Record<SourceId, readonly string[]> = {};
  for (const [source, shards] of Object.entries(names)) {
    const found: IndexedShard[] = [];
    const sampled: string[] = [];
    const indexed = indexedVersions(former.manifest, former.samples, source);
    for (const name of shards) {
      const path = joinPath(datasetFolder(data, source), name);
      const status = known.get(path);
      const before = indexed.get(name);
      const version = status === undefined || !isRemote(path) ? undefined : sampleOfVersion(status);
      // A shard of the same version need not be fetched again to know its hash.
      if (
        before !== undefined &&
        version !== undefined &&
        before.sample === version &&
        before.bytes === status?.bytes
      ) {
        found.push({ name, bytes: before.bytes, sha256: before.sha256 });
        sampled.push(version);
        done++;
        continue;
      }
      onProgress({ phase: 'verify', what: `${source}/${name}`, done: done++, total, unit: 'shards' });
      const sha256 = await sha256OfShard(path, store);
      const bytes = status?.bytes ?? (await fileBytes(path)) ?? 0;
      found.push({ name, bytes, sha256 });
      sampled.push(isRemote(path) ? (version ?? '') : await sampleOf(path, bytes));
    }
    hashed[source] = found;
    samples[source] = sampled;
  }
  return { shards: hashed, samples, leftOut, store };
}

/** The index that is there, for what it knows of shards at addresses. */
async function formerIndex(
  folder: string,
): Promise<{ manifest: Pick<IndexManifest, 'sources'>; samples: ShardSamples }> {
  const found = await readManifest(folder).catch(() => undefined);
  return { manifest: found?.manifest ?? { sources: {} }, samples: await readShardSamples(folder) };
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
    throw new WeftError('not_found', `the ${source} shards in ${datasetFolder(data, source)} hold no document`, {
      hint: `add documents, or set data.weights.${source}=0`,
    });
}
