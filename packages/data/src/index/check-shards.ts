import { join } from 'node:path';
import { ofSource, type SourceId, WeftError } from '@weft/common';
import { type DataConfig, datasetSettings } from '@weft/config';
import { type BlobStatus, fileBytes, isRemote, joinPath, type ShardStore, withKnown } from '@weft/files';
import { shardStore } from '@weft/remote';
import { type FoundShards, findShards } from '../formats/find-shards.js';
import { shardNames } from '../formats/named-shards.js';
import { findIndexFolder } from './index-folder.js';
import { compareStatus, knownShards } from './known-shards.js';
import { hasLeftOutFile, readLeftOutFiles } from './left-out-file.js';
import { type DatasetConfig, datasetFolder, type IndexManifest, REINDEX, readManifest } from './manifest.js';
import { readShardSamples } from './shard-samples.js';

/** What the shards of a run are compared with. */
export interface ShardCheck {
  readonly data: DataConfig;
  readonly manifest: IndexManifest;
  /** What the index knows of shards at addresses, by path. */
  readonly known: ReadonlyMap<string, BlobStatus>;
  /** Where they are read from. */
  readonly store: ShardStore;
  /** Files that were not read when the index was made; a later version may read them. */
  readonly leftOut: ReadonlySet<string>;
  /** The index was made when only the plainest names were read: it is valid beside files with others. */
  readonly isOlder: boolean;
}

/** @param directory the folder of the index */
export async function shardCheck(directory: string, data: DataConfig, manifest: IndexManifest): Promise<ShardCheck> {
  const known = knownShards(data, manifest, await readShardSamples(directory));
  const store = withKnown(shardStore(data.remote), known);
  const isOlder = !(await hasLeftOutFile(directory));
  return { data, manifest, known, store, isOlder, leftOut: await readLeftOutFiles(directory) };
}

/**
 * Checks that the shards of an index are there, in their sizes: those at an address by one listing. Where they are named
 * instead, `Dataset.compareShards` asks for each.
 *
 * @returns what was listed
 * @throws WeftError `not_found` for a missing shard, `failed_precondition` for one that has changed
 */
export async function checkPresent(check: ShardCheck, source: SourceId): Promise<FoundShards | undefined> {
  const { data, manifest, known, store } = check;
  const folder = datasetFolder(data, source);
  const { shards } = ofSource(manifest.sources, source);
  if (!isRemote(folder)) {
    for (const { name, bytes } of shards) await checkFile(join(folder, name), bytes);
    return undefined;
  }
  if (datasetSettings(data, source).shards !== null) return undefined;
  const found = await findShards({ folder, source, kind: ofSource(data.sources, source) }, store);
  for (const { name, bytes } of shards) {
    const path = joinPath(folder, name);
    compareStatus(path, found.statuses.get(name), known.get(path) ?? { bytes, version: null });
  }
  return found;
}

async function checkFile(path: string, indexedBytes: number): Promise<void> {
  const bytes = await fileBytes(path);
  if (bytes === undefined)
    throw new WeftError('not_found', `the shard ${path} is in the data index, but the file is missing`, {
      hint: `put it back, or ${REINDEX}`,
    });
  if (bytes !== indexedBytes)
    throw new WeftError(
      'failed_precondition',
      `the shard ${path} has ${bytes} bytes, but had ${indexedBytes} when it was indexed`,
      { hint: REINDEX },
    );
}

/**
 * Checks that an index holds the shards that are meant: all of a folder, or those that `data.datasets.<dataset>.shards` names and no
 * others.
 *
 * @param listed what lies in the folder; default: it is listed
 * @throws WeftError `failed_precondition` naming a shard
 */
export async function checkNames(check: ShardCheck, source: SourceId, listed?: FoundShards): Promise<void> {
  const { data, manifest, store, leftOut, isOlder } = check;
  const folder = datasetFolder(data, source);
  const indexed = new Set(ofSource(manifest.sources, source).shards.map(({ name }) => name));
  const { shards: pattern } = datasetSettings(data, source);
  if (pattern !== null) {
    const named = new Set(await shardNames({ folder, source, shards: pattern }, store));
    const field = `data.datasets.${source}.shards`;
    const unknown = [...named].find((name) => !indexed.has(name));
    if (unknown !== undefined) throw notInIndex(joinPath(folder, unknown), `take it out of ${field}`);
    const unnamed = [...indexed].find((name) => !named.has(name));
    if (unnamed === undefined) return;
    throw new WeftError(
      'failed_precondition',
      `the data index holds the shard ${joinPath(folder, unnamed)}, which ${field} does not name`,
      { hint: `${REINDEX}, or name it in ${field}` },
    );
  }
  const found = listed ?? (await findShards({ folder, source, kind: ofSource(data.sources, source) }, store));
  const unknown = found.shards
    .filter((name) => !isOlder || isRemote(folder) || (!name.includes('/') && PLAINEST.test(name)))
    .find((name) => !indexed.has(name) && !leftOut.has(`${source}/${name}`));
  if (unknown !== undefined) throw notInIndex(joinPath(folder, unknown), 'move the file away');
}

/**
 * As `checkNames`, for the datasets of a run that lie on this machine: before workers elsewhere begin, which take the index as it is.
 *
 * @throws WeftError also as `readManifest`
 */
export async function checkIndexed(config: DatasetConfig): Promise<void> {
  const directory = await findIndexFolder(config, { use: 'read' });
  const check = await shardCheck(directory, config.data, (await readManifest(directory)).manifest);
  for (const source of Object.keys(config.data.sources))
    if (!isRemote(datasetFolder(config.data, source))) await checkNames(check, source);
}

const notInIndex = (path: string, instead: string) =>
  new WeftError('failed_precondition', `the shard ${path} is not in the data index`, {
    hint: `${REINDEX}, or ${instead}`,
  });

/** Names that were read, or refused, from the beginning. */
const PLAINEST = /\.(tar|jsonl|txt|gz)$/;
