import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isJsonObject, WeftError } from '@weft/common';
import type { DataConfig } from '@weft/config';
import {
  type Blob,
  type BlobStatus,
  isMissing,
  isRemote,
  joinPath,
  readJsonFile,
  type ShardStore,
  withBlob,
  writeJsonFile,
} from '@weft/files';
import pLimit from 'p-limit';
import { compareStatus, type ShardSamples, sampleOfVersion, versionOfSample } from './known-shards.js';
import { datasetFolder, type IndexManifest, REINDEX } from './manifest.js';
import type { ShardFingerprint } from './shard-part.js';

/** Blocks of a shard that are hashed, at equal distances from its beginning to its end. */
const BLOCKS = 16;
const BLOCK_BYTES = 4096;
/** Read at a time for a hash. */
const CHUNK_BYTES = 1 << 20;
/** Of more shards than these so many are compared, at equal distances; a comparison takes about a millisecond. */
const MOST_COMPARED = 2000;
/** Of shards at addresses, which are asked for one by one. */
const CONCURRENT_QUESTIONS = 16;
const FILE = 'shard-samples.json';

/** The SHA-256 over 16 blocks of a file, 16 hexadecimal digits: it tells most changes without reading all of it. */
async function sampleOf(shard: Blob): Promise<string> {
  const { bytes } = shard;
  const hash = createHash('sha256').update(`${bytes}`);
  const last = Math.max(0, bytes - BLOCK_BYTES);
  const block = Buffer.allocUnsafe(Math.min(BLOCK_BYTES, bytes));
  for (let i = 0; i < BLOCKS; i++) {
    await shard.read(block, Math.floor((last * i) / (BLOCKS - 1)));
    hash.update(block);
    if (last === 0) break;
  }
  return hash.digest('hex').slice(0, 16);
}

/**
 * Size, hash and sample of a shard. Reads all of it.
 *
 * @param status of a shard at an address
 */
export async function fingerprintOf(shard: Blob, status?: BlobStatus): Promise<ShardFingerprint> {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, shard.bytes));
  for (let at = 0; at < shard.bytes; at += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, shard.bytes - at));
    await shard.read(part, at);
    hash.update(part);
  }
  const sample = status === undefined ? await sampleOf(shard) : (sampleOfVersion(status) ?? '');
  return { bytes: shard.bytes, sha256: hash.digest('hex'), sample };
}

/** Writes the samples into the folder of an index. */
export async function writeShardSamples(folder: string, samples: ShardSamples): Promise<void> {
  await writeJsonFile(join(folder, FILE), samples);
}

/** The samples of an index; none where an older version made it. */
export async function readShardSamples(folder: string): Promise<ShardSamples> {
  const samples = await readJsonFile(join(folder, FILE)).catch((thrown: unknown) => {
    if (WeftError.is(thrown, 'not_found') || isMissing(thrown)) return undefined;
    throw thrown;
  });
  if (!isJsonObject(samples)) return {};
  const lists = Object.entries(samples).filter((entry): entry is [string, string[]] => Array.isArray(entry[1]));
  return Object.fromEntries(lists);
}

/**
 * Compares samples of the shards with what they were when the index was made. An index of an older version has none.
 *
 * @throws WeftError `failed_precondition` naming a shard that has changed
 */
export async function compareShardSamples(
  folder: string,
  data: Pick<DataConfig, 'directory' | 'datasets'>,
  { sources }: Pick<IndexManifest, 'sources'>,
  store: ShardStore,
): Promise<void> {
  const samples = await readShardSamples(folder);
  const shards = Object.entries(sources).flatMap(([source, { shards: all }]) => {
    const known = samples[source];
    return all.map(({ name, bytes }, i) => ({
      ...{ path: joinPath(datasetFolder(data, source), name), bytes },
      sample: known?.[i],
    }));
  });
  const step = Math.max(1, shards.length / MOST_COMPARED);
  const compared = Array.from({ length: Math.ceil(shards.length / step) }, (_, i) => shards[Math.floor(i * step)]!);
  await compareVersions(
    compared.filter(({ path }) => isRemote(path)),
    store,
  );
  for (const { path, sample } of compared) {
    const hasSample = sample !== undefined && sample !== '' && versionOfSample(sample) === null && !isRemote(path);
    if (!hasSample || (await withBlob(store, path, sampleOf)) === sample) continue;
    throw new WeftError('failed_precondition', `the shard ${path} has changed since it was indexed`, {
      hint: `put the former file back, or ${REINDEX}`,
    });
  }
}

/** Asks the stores of shards at addresses for their sizes and versions of now. */
async function compareVersions(
  shards: readonly { readonly path: string; readonly bytes: number; readonly sample: string | undefined }[],
  store: ShardStore,
): Promise<void> {
  const limit = pLimit(CONCURRENT_QUESTIONS);
  await Promise.all(
    shards.map(({ path, bytes, sample }) =>
      limit(async () => compareStatus(path, await store.status(path), { bytes, version: versionOfSample(sample) })),
    ),
  );
}
