import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { isJsonObject, type PerSource, WeftError } from '@weft/common';
import type { DataConfig } from '@weft/config';
import { isMissing, readExactly, readJsonFile, writeJsonFile } from '@weft/files';
import { datasetFolder, type IndexManifest, REINDEX } from './manifest.js';

/** Blocks of a shard that are hashed, at equal distances from its beginning to its end. */
const BLOCKS = 16;
const BLOCK_BYTES = 4096;
/** Of more shards than these so many are compared, at equal distances; a comparison takes about a millisecond. */
const MOST_COMPARED = 2000;
const FILE = 'shard-samples.json';

/** Hashes of samples of the shards, in their order. They are no part of the identity of the dataset. */
export type ShardSamples = PerSource<readonly string[]>;

/** The SHA-256 over 16 blocks of a file, 16 hexadecimal digits: it tells most changes without reading all of it. */
export async function sampleOf(path: string, bytes: number): Promise<string> {
  const handle = await open(path, 'r');
  try {
    const hash = createHash('sha256').update(`${bytes}`);
    const last = Math.max(0, bytes - BLOCK_BYTES);
    for (let block = 0; block < BLOCKS; block++) {
      const offset = Math.floor((last * block) / (BLOCKS - 1));
      hash.update(await readExactly(handle, path, offset, Math.min(BLOCK_BYTES, bytes)));
      if (last === 0) break;
    }
    return hash.digest('hex').slice(0, 16);
  } finally {
    await handle.close();
  }
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
    return all.map(({ name, bytes }, i) => ({
      ...{ path: join(datasetFolder(data, source), name), bytes },
      sample: Array.isArray(known) ? (known[i] as unknown) : undefined,
    }));
  });
  const step = Math.max(1, shards.length / MOST_COMPARED);
  for (let at = 0; at < shards.length; at += step) {
    const { path, bytes, sample } = shards[Math.floor(at)]!;
    if (sample === undefined || (await sampleOf(path, bytes)) === sample) continue;
    throw new WeftError('failed_precondition', `the shard ${path} has changed since it was indexed`, {
      hint: `put the former file back, or ${REINDEX}`,
    });
  }
}
