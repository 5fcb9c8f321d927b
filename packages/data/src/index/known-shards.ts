import { createHash } from 'node:crypto';
import { ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import type { DataConfig } from '@weft/config';
import { type BlobStatus, blobChunks, isRemote, joinPath, type ShardStore, sha256OfFile, withBlob } from '@weft/files';
import { datasetFolder, type IndexedShard, type IndexManifest, REINDEX } from './manifest.js';

/**
 * Hashes of samples of the shards, in their order; of shards at an address, their versions there. They are no part of the
 * identity of the dataset.
 */
export type ShardSamples = PerSource<readonly string[]>;

const CHUNK_BYTES = 1 << 20;
/** In front of the version of a shard at an address, where the samples of an index have hashes of others. */
const VERSION = 'version ';

/** What stands for a shard at an address among the samples of an index; undefined where its store has no versions. */
export const sampleOfVersion = ({ version }: BlobStatus) => (version === null ? undefined : `${VERSION}${version}`);

/** The version that a sample stands for. */
export function versionOfSample(sample: unknown): string | null {
  return typeof sample === 'string' && sample.startsWith(VERSION) ? sample.slice(VERSION.length) : null;
}

/** The SHA-256 of a shard, wherever it lies. */
export async function sha256OfShard(
  path: string,
  store: ShardStore,
  onBytes?: (bytes: number) => void,
): Promise<string> {
  if (!isRemote(path)) return sha256OfFile(path, onBytes);
  return await withBlob(store, path, async (blob) => {
    const hash = createHash('sha256');
    for await (const chunk of blobChunks(blob, CHUNK_BYTES)) {
      hash.update(chunk);
      onBytes?.(chunk.length);
    }
    return hash.digest('hex');
  });
}

/** What an index knows of shards at addresses, by their paths: their stores need not be asked, and other bytes are refused. */
export function knownShards(
  data: Pick<DataConfig, 'directory' | 'datasets'>,
  { sources }: Pick<IndexManifest, 'sources'>,
  samples: ShardSamples,
): ReadonlyMap<string, BlobStatus> {
  const known = new Map<string, BlobStatus>();
  for (const [source, { shards }] of Object.entries(sources)) {
    const folder = datasetFolder(data, source);
    if (!isRemote(folder)) continue;
    for (const [i, { name, bytes }] of shards.entries())
      known.set(joinPath(folder, name), { bytes, version: versionOfSample(samples[source]?.[i]) });
  }
  return known;
}

/** The shards that an index holds of a source, by name, with the versions they had: what need not be read again. */
export function indexedVersions(
  manifest: Pick<IndexManifest, 'sources'>,
  samples: ShardSamples,
  source: SourceId,
): ReadonlyMap<string, IndexedShard & { readonly sample: string | undefined }> {
  const shards = Object.hasOwn(manifest.sources, source) ? ofSource(manifest.sources, source).shards : [];
  const own: PerSource<readonly string[]> = samples;
  return new Map(shards.map((shard, i) => [shard.name, { ...shard, sample: own[source]?.[i] }]));
}

/**
 * Compares a shard at an address with what its index says.
 *
 * @throws WeftError `not_found`, or `failed_precondition` for another size or version
 */
export function compareStatus(path: string, found: BlobStatus | undefined, indexed: BlobStatus): void {
  if (found === undefined)
    throw new WeftError('not_found', `the shard ${path} is in the data index, but it is missing`, {
      hint: `put it back, or ${REINDEX}`,
    });
  if (found.bytes !== indexed.bytes)
    throw new WeftError(
      'failed_precondition',
      `the shard ${path} has ${found.bytes} bytes, but had ${indexed.bytes} when it was indexed`,
      { hint: REINDEX },
    );
  if (indexed.version !== null && found.version !== null && found.version !== indexed.version)
    throw new WeftError('failed_precondition', `the shard ${path} has changed since it was indexed`, {
      hint: `put the former file back, or ${REINDEX}`,
    });
}
