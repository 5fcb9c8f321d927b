import { stat } from 'node:fs/promises';
import { ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import { type DataConfig, datasetSettings, hasDefaultSources } from '@weft/config';
import { isRemote, joinPath, withBlob } from '@weft/files';
import { shardStore } from '@weft/remote';
import pLimit from 'p-limit';
import { besideSources, findShards, SHARD_EXTENSIONS } from '../formats/find-shards.js';
import type { LeftOut } from '../formats/left-out.js';
import type { OnProgress } from '../progress.js';
import { indexedVersions, type ShardSamples, sampleOfVersion } from './known-shards.js';
import { datasetFolder, type IndexedShard, type IndexManifest } from './manifest.js';
import type { ListedShard } from './shard-indexer.js';
import { fingerprintOf } from './shard-samples.js';

/** The shards of every source, and the files and folders that are none. */
export interface ListedShards {
  readonly shards: PerSource<readonly ListedShard[]>;
  readonly leftOut: readonly LeftOut[];
}

/** Files that are looked at a time. */
const CONCURRENT = 16;

/** @throws WeftError `not_found` when a source with a positive weight has no shards */
export async function listShards(data: DataConfig): Promise<ListedShards> {
  const store = shardStore(data.remote);
  const leftOut: LeftOut[] = [...(await besideSources(data.directory, Object.keys(data.sources), data.index, store))];
  const listed: Record<SourceId, readonly ListedShard[]> = {};
  const limit = pLimit(CONCURRENT);
  for (const [source, kind] of Object.entries(data.sources)) {
    const folder = datasetFolder(data, source);
    const found = await findShards({ folder, source, kind, shards: datasetSettings(data, source).shards }, store);
    leftOut.push(...found.leftOut);
    if (found.shards.length === 0 && ofSource(data.weights, source) > 0)
      throw new WeftError('not_found', `there are no ${source} shards in ${folder}`, {
        hint: hasDefaultSources(data)
          ? `run weft data fetch demo, put shards there, or set data.weights.${source}=0`
          : `put ${SHARD_EXTENSIONS[kind].slice(0, 2).join(' or ')} files there, or set data.weights.${source}=0`,
      });
    listed[source] = await limit.map(found.shards, async (name) => {
      const path = joinPath(folder, name);
      if (!isRemote(path)) return { name, ...(await fileStatus(path)) };
      const status = found.statuses.get(name) ?? (await store.status(path));
      return { name, bytes: status?.bytes ?? 0, version: status?.version ?? null };
    });
  }
  return { shards: listed, leftOut };
}

async function fileStatus(path: string): Promise<Omit<ListedShard, 'name'>> {
  const { size, mtimeMs, ctimeMs } = await stat(path).catch((thrown: unknown) => {
    throw WeftError.from(thrown);
  });
  return { bytes: size, version: `${size}-${mtimeMs}-${ctimeMs}` };
}

/**
 * Names, sizes and hashes of all shards.
 *
 * @param known of an index: a shard at an address that has the version it had then need not be fetched to know its hash
 */
export async function hashShards(
  data: DataConfig,
  { shards }: ListedShards,
  known: { readonly manifest: Pick<IndexManifest, 'sources'>; readonly samples: ShardSamples },
  onProgress: OnProgress,
): Promise<PerSource<readonly IndexedShard[]>> {
  const total = shardCount(shards);
  const store = shardStore(data.remote);
  const hashed: Record<SourceId, readonly IndexedShard[]> = {};
  const limit = pLimit(CONCURRENT_HASHES);
  let done = 0;
  for (const [source, listed] of Object.entries(shards)) {
    const indexed = indexedVersions(known.manifest, known.samples, source);
    hashed[source] = await limit.map(listed, async ({ name, bytes, version }) => {
      const path = joinPath(datasetFolder(data, source), name);
      const before = indexed.get(name);
      const sample = isRemote(path) ? sampleOfVersion({ bytes, version }) : undefined;
      const isSame = sample !== undefined && before?.sample === sample && before.bytes === bytes;
      done++;
      if (isSame) return { name, bytes, sha256: before.sha256 };
      onProgress({ phase: 'verify', what: `${source}/${name}`, done, total, unit: 'shards' });
      const found = await withBlob(store, path, (shard) => fingerprintOf(shard));
      return { name, bytes: found.bytes, sha256: found.sha256 };
    });
  }
  return hashed;
}

/** Each has a MiB in memory. */
const CONCURRENT_HASHES = 4;

export const shardCount = (shards: PerSource<readonly unknown[]>) =>
  Object.values(shards).reduce((sum, { length }) => sum + length, 0);
