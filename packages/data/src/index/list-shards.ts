import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import { type DataConfig, hasDefaultSources } from '@weft/config';
import { diskStore, withBlob } from '@weft/files';
import pLimit from 'p-limit';
import { besideSources, findShards, SHARD_EXTENSIONS } from '../formats/find-shards.js';
import type { LeftOut } from '../formats/left-out.js';
import type { OnProgress } from '../progress.js';
import { datasetFolder, type IndexedShard } from './manifest.js';
import { fingerprintOf } from './shard-samples.js';

/** A shard that is there. */
export interface ListedShard {
  /** Path below the folder of its dataset. */
  readonly name: string;
  readonly bytes: number;
  /** Changes when the file does: its size and times. */
  readonly version: string;
}

/** The shards of every source, and the files and folders that are none. */
export interface ListedShards {
  readonly shards: PerSource<readonly ListedShard[]>;
  readonly leftOut: readonly LeftOut[];
}

/** Files that are looked at a time. */
const CONCURRENT = 16;

/** @throws WeftError `not_found` when a source with a positive weight has no shards */
export async function listShards(data: DataConfig): Promise<ListedShards> {
  const leftOut: LeftOut[] = [...(await besideSources(data.directory, Object.keys(data.sources), data.index))];
  const listed: Record<SourceId, readonly ListedShard[]> = {};
  const limit = pLimit(CONCURRENT);
  for (const [source, kind] of Object.entries(data.sources)) {
    const folder = datasetFolder(data, source);
    const found = await findShards(folder, source, kind);
    leftOut.push(...found.leftOut);
    if (found.shards.length === 0 && ofSource(data.weights, source) > 0)
      throw new WeftError('not_found', `there are no ${source} shards in ${folder}`, {
        hint: hasDefaultSources(data)
          ? `run weft data fetch demo, put shards there, or set data.weights.${source}=0`
          : `put ${SHARD_EXTENSIONS[kind].slice(0, 2).join(' or ')} files there, or set data.weights.${source}=0`,
      });
    listed[source] = await limit.map(found.shards, async (name) => {
      const { size, mtimeMs, ctimeMs } = await stat(join(folder, name)).catch((thrown: unknown) => {
        throw WeftError.from(thrown);
      });
      return { name, bytes: size, version: `${size}-${mtimeMs}-${ctimeMs}` };
    });
  }
  return { shards: listed, leftOut };
}

/** Names, sizes and hashes of all shards. */
export async function hashShards(
  data: DataConfig,
  { shards }: ListedShards,
  onProgress: OnProgress,
): Promise<PerSource<readonly IndexedShard[]>> {
  const total = shardCount(shards);
  const hashed: Record<SourceId, readonly IndexedShard[]> = {};
  const limit = pLimit(CONCURRENT_HASHES);
  let done = 0;
  for (const [source, listed] of Object.entries(shards))
    hashed[source] = await limit.map(listed, async ({ name }) => {
      onProgress({ phase: 'verify', what: `${source}/${name}`, done: done++, total, unit: 'shards' });
      const { bytes, sha256 } = await withBlob(diskStore, join(datasetFolder(data, source), name), fingerprintOf);
      return { name, bytes, sha256 };
    });
  return hashed;
}

/** Each has a MiB in memory. */
const CONCURRENT_HASHES = 4;

export const shardCount = (shards: PerSource<readonly unknown[]>) =>
  Object.values(shards).reduce((sum, { length }) => sum + length, 0);
