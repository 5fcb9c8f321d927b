import { constants } from 'node:fs';
import { access, rmdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { mapSources, ofSource, type PerSource, type SourceId, systemErrorCode, WeftError } from '@weft/common';
import { type DataConfig, datasetSettings } from '@weft/config';
import { buildDirectory, makeDirectory } from '@weft/files';
import { shardStore } from '@weft/remote';
import type { LeftOutReason } from '../formats/left-out.js';
import { openRunTokenizer } from '../formats/open-tokenizer.js';
import type { Tokenizer } from '../formats/tokenizer.js';
import type { OnProgress } from '../progress.js';
import { type AddedSequences, type FormerIndex, formerIndex, type GrownIndex, growIndex } from './grow-index.js';
import { beginWithPlain, findIndexFolder } from './index-folder.js';
import { identityIn, withIndexLock } from './index-lock.js';
import { LeftOutFile, readLeftOut } from './left-out-file.js';
import { type ListedShards, listShards, shardCount } from './list-shards.js';
import {
  type DatasetConfig,
  datasetFolder,
  hasConversations,
  INDEX_FORMAT_VERSION,
  type IndexManifest,
  packingLimits,
  type SourceManifest,
  writeManifest,
} from './manifest.js';
import { type PackedSource, packSource } from './pack-source.js';
import { entryBytesFor } from './records.js';
import type { IndexRun } from './shard-indexer.js';
import { type ReadingOptions, type ReadProgress, type ShardParts, withShardParts } from './shard-parts.js';
import { writeShardSamples } from './shard-samples.js';

/** The index after `indexDataset`. */
export interface IndexResult {
  /** The folder of the index. */
  readonly directory: string;
  /** False when the existing index already holds exactly these shards. */
  readonly built: boolean;
  /** What was added where the index has grown; its former sequences keep their numbers. */
  readonly added: AddedSequences | undefined;
  readonly sources: PerSource<SourceManifest>;
  /** What lies in the data directory and is not in the index, by reason. The file `left-out.jsonl` of the index names all. */
  readonly leftOut: readonly LeftOutReason[];
}

type IndexOptions = DatasetConfig & {
  readonly force?: boolean;
  readonly onProgress?: OnProgress;
  readonly reading?: ReadingOptions;
};

/**
 * Reads the shards under `data.directory`, tokenizes them, packs them into sequences and writes the index for these
 * parameters. Every image is decoded once. Deterministic: the same shards and parameters give the same bytes, on any number of
 * cores. The index replaces the old one when it is complete; an error leaves the old one, or none. A current index is kept. Where
 * shards were added and the others are as they were, these are packed into a new version of the index, which keeps the numbers of
 * all sequences. Where it is large and the process is killed, the next call reads only the shards that were not read.
 *
 * @param options.force build even when the index is current; default false
 * @param options.reading by which processes shards are read; default: as is fastest here
 * @throws WeftError `not_found` when a source with a positive weight has no shards; `corrupt_data` naming shard and
 * member; `invalid_argument` when the tokenizer's vocabulary is larger than the model's; `failed_precondition` where another
 * process writes the index, or has while this one read the shards
 */
export async function indexDataset(options: IndexOptions): Promise<IndexResult> {
  const onProgress = options.onProgress ?? (() => undefined);
  const tokenizer = await openRunTokenizer(options);
  const folder = await findIndexFolder(options, { tokenizer, use: 'write' });
  const parent = dirname(folder);
  const missing = await missingFolders(parent);
  try {
    if ((await identityIn(folder)) === undefined) await checkWritable(parent);
    if (options.force !== true) await beginWithPlain(folder, options, tokenizer);
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
  const before = await identityIn(folder);
  const listed = await listShards(data);
  const former = options.force === true ? undefined : await formerIndex(folder, options, listed);
  if (former !== undefined && shardCount(former.added) === 0) {
    const leftOut = await readLeftOut(folder, listed.leftOut);
    return { directory: folder, built: false, added: undefined, sources: former.manifest.sources, leftOut };
  }
  const { vocabularySize } = tokenizer;
  const limits = packingLimits(options);
  const entryBytes = entryBytesFor(vocabularySize, hasConversations(data));
  const shards = former === undefined ? listed.shards : withAdded(former, listed);
  const packedBefore = mapSources(shards, (_, source) => ({
    shards: former?.manifest.sources[source]?.shards.length ?? 0,
    documents: former?.manifest.sources[source]?.documents ?? 0,
  }));
  const total = shardCount(former?.added ?? shards);
  const run: IndexRun = {
    config: { data, model: options.model, ...(options.task === undefined ? {} : { task: options.task }) },
    shards,
  };
  onProgress({ phase: 'index', what: 'the shards', done: 0, total, unit: 'shards' });
  const reading = {
    ...{ index: folder, run, entryBytes, madeWith: { tokenizer: tokenizer.name, limits, entryBytes } },
    before: mapSources(packedBefore, (each) => each.shards),
    ...options.reading,
    onRead: (source: SourceId, shard: string, { shards, bytes, totalBytes }: ReadProgress) =>
      onProgress({
        ...{ phase: 'index', what: `${source}/${shard}`, done: shards, total, unit: 'shards' },
        bytes: { done: bytes, total: totalBytes },
      }),
  };
  const version = former === undefined ? 1 : former.manifest.formerIdentities.length + 2;
  const pack = async (parts: ShardParts, unfinished: string, leftOutFile: LeftOutFile) => {
    const packed: Record<SourceId, PackedSource> = {};
    for (const [source, kind] of Object.entries(data.sources)) {
      const settings = datasetSettings(data, source);
      if (former !== undefined && ofSource(former.added, source).length === 0) continue;
      packed[source] = await packSource({
        ...{ source, settings, folder: unfinished, limits, version, before: ofSource(packedBefore, source) },
        parts: parts.reader,
        reader: {
          ...{ folder: datasetFolder(data, source), kind, settings, chatTemplate: data.chatTemplate },
          shards: ofSource(shards, source).map(({ name }) => name),
          store: shardStore(data.remote),
        },
        take: (number) => parts.take(source, number),
        onLeftOut: (what) => leftOutFile.add(what),
      });
    }
    return packed;
  };
  const build = (parts: ShardParts) =>
    buildDirectory(folder, async (unfinished) => {
      const leftOutFile = new LeftOutFile(unfinished, listed.leftOut);
      const packed = await pack(parts, unfinished, leftOutFile);
      const { name, endOfTextId, padTokenId } = tokenizer;
      const manifest: IndexManifest = {
        ...{ formatVersion: INDEX_FORMAT_VERSION, formerIdentities: [] },
        tokenizer: { name, vocabularySize, endOfTextId, padTokenId },
        ...{ packing: limits, entryBytes },
        sources: mapSources(packed, ({ part, shards }) => ({ shards, ...part, later: [] })),
      };
      for (const [source, indexed] of Object.entries(manifest.sources)) checkNotEmpty(data, source, indexed);
      leftOutFile.finish();
      await writeShardSamples(
        unfinished,
        mapSources(packed, ({ samples }) => samples),
      );
      await writeManifest(unfinished, manifest);
      return { manifest, leftOut: leftOutFile.counts.reasons, added: undefined };
    });
  const grow = (parts: ShardParts, from: FormerIndex) =>
    growIndex({
      ...{ folder, former: from, version, leftOut: listed.leftOut },
      pack: (unfinished, leftOutFile) => pack(parts, unfinished, leftOutFile),
    });
  const { manifest, leftOut, added } = await withShardParts<GrownIndex>(reading, (parts) =>
    former === undefined ? withIndexLock(folder, before, () => build(parts)) : grow(parts, former),
  );
  onProgress({ phase: 'index', what: 'index.json', done: total, total, unit: 'shards' });
  return { directory: folder, built: true, added, sources: manifest.sources, leftOut };
}

/** The shards of each source, those of the index first, in its order. */
function withAdded({ manifest, added }: FormerIndex, { shards }: ListedShards): ListedShards['shards'] {
  return mapSources(shards, (all, source) => {
    const byName = new Map(all.map((shard) => [shard.name, shard]));
    const known = ofSource(manifest.sources, source).shards.flatMap(({ name }) => byName.get(name) ?? []);
    return [...known, ...ofSource(added, source)];
  });
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

/** @throws WeftError `not_found` when a source with a positive weight has no document */
function checkNotEmpty(data: DataConfig, source: SourceId, manifest: SourceManifest): void {
  if (manifest.sequences === 0 && ofSource(data.weights, source) > 0)
    throw new WeftError('not_found', `the ${source} shards in ${datasetFolder(data, source)} hold no document`, {
      hint: `add documents, or set data.weights.${source}=0`,
    });
}
