import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { isJsonObject, type PerSource, WeftError } from '@weft/common';
import type { DataConfig } from '@weft/config';
import { type Blob, diskStore, isMissing, readJsonFile, withBlob, writeJsonFile } from '@weft/files';
import { datasetFolder, type IndexManifest, REINDEX } from './manifest.js';
import type { ShardFingerprint } from './shard-part.js';

/** Blocks of a shard that are hashed, at equal distances from its beginning to its end. */
const BLOCKS = 16;
const BLOCK_BYTES = 4096;
/** Read at a time for a hash. */
const CHUNK_BYTES = 1 << 20;
/** Of more shards than these so many are compared, at equal distances; a comparison takes about a millisecond. */
const MOST_COMPARED = 2000;
const FILE = 'shard-samples.json';

/** Hashes of samples of the shards, in their order. They are no part of the identity of the dataset. */
export type ShardSamples = PerSource<readonly string[]>;

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

/** Size, hash and sample of a shard. Reads all of it. */
export async function fingerprintOf(shard: Blob): Promise<ShardFingerprint> {
  const hash = createHash('sha256');
  const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, shard.bytes));
  for (let at = 0; at < shard.bytes; at += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, shard.bytes - at));
    await shard.read(part, at);
    hash.update(part);
  }
  return { bytes: shard.bytes, sha256: hash.digest('hex'), sample: await sampleOf(shard) };
}

/** Writes the samples into the folder of an index. */
export async function writeShardSamples(folder: string, samples: ShardSamples): Promise<void> {
  await writeJsonFile(join(folder, FILE), samples);
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
): Promise<void> {
  const samples = await readJsonFile(join(folder, FILE)).catch((thrown: unknown) => {
    if (WeftError.is(thrown, 'not_found') || isMissing(thrown)) return undefined;
    throw thrown;
  });
  if (!isJsonObject(samples)) return;
  const shards = Object.entries(sources).flatMap(([source, { shards: all }]) => {
    const known: unknown = samples[source];
    return all.map(({ name }, i) => ({
      path: join(datasetFolder(data, source), name),
      sample: Array.isArray(known) ? (known[i] as unknown) : undefined,
    }));
  });
  const step = Math.max(1, shards.length / MOST_COMPARED);
  for (let at = 0; at < shards.length; at += step) {
    const { path, sample } = shards[Math.floor(at)]!;
    if (sample === undefined || (await withBlob(diskStore, path, sampleOf)) === sample) continue;
    throw new WeftError('failed_precondition', `the shard ${path} has changed since it was indexed`, {
      hint: `put the former file back, or ${REINDEX}`,
    });
  }
}
