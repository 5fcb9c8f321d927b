import { rename } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { mapSources, ofSource, type PerSource } from '@weft/common';
import type { DataConfig } from '@weft/config';
import { fileBytes, ProcessLock, withTemporaryDirectory } from '@weft/files';
import type { LeftOut, LeftOutReason } from '../formats/left-out.js';
import type { OnProgress } from '../progress.js';
import { documentFiles } from './document-names.js';
import { LEFT_OUT_FILE, LeftOutFile } from './left-out-file.js';
import { hashShards, type ListedShards } from './list-shards.js';
import {
  type IndexedShard,
  type IndexManifest,
  partsOf,
  readManifest,
  type SourceCounts,
  type SourceManifest,
  tableFile,
  writeManifest,
} from './manifest.js';
import type { PackedSource } from './pack-source.js';
import { TABLES } from './records.js';
import type { ListedShard } from './shard-indexer.js';
import { readShardSamples, writeShardSamples } from './shard-samples.js';

/** An index that is there and fits its shards, and the shards that it does not hold yet. */
export interface FormerIndex {
  readonly manifest: IndexManifest;
  readonly identity: string;
  readonly added: PerSource<readonly ListedShard[]>;
}

/** What a new version adds to an index. */
export interface AddedSequences {
  /** The number of the version. */
  readonly version: number;
  readonly shards: number;
  readonly sequences: PerSource<number>;
}

export interface GrownIndex {
  readonly manifest: IndexManifest;
  readonly leftOut: readonly LeftOutReason[];
  readonly added: AddedSequences | undefined;
}

/**
 * The index in `folder` when it is complete and all that it was made from is as it was; undefined where it has to be made anew.
 */
export async function formerIndex(
  folder: string,
  { data, onProgress }: { readonly data: DataConfig; readonly onProgress: OnProgress },
  listed: ListedShards,
): Promise<FormerIndex | undefined> {
  const found = await readManifest(folder).catch(() => undefined);
  if (found === undefined) return undefined;
  const { manifest, identity } = found;
  for (const [source, indexed] of Object.entries(manifest.sources))
    for (const { version, files } of partsOf(indexed))
      for (const table of TABLES)
        if ((await fileBytes(join(folder, tableFile(source, table, version)))) !== files[table].bytes) return undefined;
  if (Object.keys(manifest.sources).join() !== Object.keys(listed.shards).join()) return undefined;
  const indexed = mapSources(manifest.sources, (source) => source.shards);
  const known = mapSources(listed.shards, (all, source) => {
    const byName = new Map(all.map((shard) => [shard.name, shard]));
    return ofSource(indexed, source).flatMap(({ name }) => byName.get(name) ?? []);
  });
  const sizes = (shards: PerSource<readonly Pick<IndexedShard, 'name' | 'bytes'>[]>) =>
    mapSources(shards, (all) => all.map(({ name, bytes }) => ({ name, bytes })));
  if (!isDeepStrictEqual(sizes(indexed), sizes(known))) return undefined;
  const samples = await readShardSamples(folder);
  const hashes = await hashShards(data, { ...listed, shards: known }, { manifest, samples }, onProgress);
  if (!isDeepStrictEqual(indexed, hashes)) return undefined;
  const added = mapSources(listed.shards, (all, source) => {
    const names = new Set(ofSource(indexed, source).map(({ name }) => name));
    return all.filter(({ name }) => !names.has(name));
  });
  return { manifest, identity, added };
}

/**
 * Adds what `pack` packs of the new shards to an index, as a version of its own. Nothing that is there changes before all of it is on
 * disk, and the manifest comes last: whoever reads the index sees it as it was, or grown. What a process that was killed left
 * behind is written over by the next one.
 *
 * @param options.pack packs the new shards of each source that has some, and writes their tables into a folder
 * @throws WeftError `failed_precondition` while another process lets the index grow
 */
export async function growIndex(options: {
  readonly folder: string;
  readonly former: FormerIndex;
  readonly version: number;
  readonly leftOut: readonly LeftOut[];
  readonly pack: (unfinished: string, leftOutFile: LeftOutFile) => Promise<PerSource<PackedSource>>;
}): Promise<GrownIndex> {
  const { folder, former, version, leftOut, pack } = options;
  const lock = await ProcessLock.acquire(join(dirname(folder), `.${basename(folder)}.grows`), `the index ${folder}`);
  try {
    return await withTemporaryDirectory(folder, async (unfinished) => {
      const leftOutFile = new LeftOutFile(unfinished, leftOut);
      await leftOutFile.addFormer(folder, former.manifest);
      const packed = await pack(unfinished, leftOutFile);
      leftOutFile.finish();
      const manifest: IndexManifest = {
        ...former.manifest,
        formerIdentities: [...former.manifest.formerIdentities, former.identity],
        sources: mapSources(former.manifest.sources, (source, name) => grown(source, packed[name], version)),
      };
      const samples = await readShardSamples(folder);
      for (const source of Object.keys(packed))
        for (const name of [
          ...TABLES.map((table) => tableFile(source, table, version)),
          ...documentFiles(source, version),
        ])
          await rename(join(unfinished, name), join(folder, name));
      await rename(join(unfinished, LEFT_OUT_FILE), join(folder, LEFT_OUT_FILE));
      await writeShardSamples(
        folder,
        mapSources(manifest.sources, (_, source) => [
          ...samplesOf(samples, former, source),
          ...(packed[source]?.samples ?? []),
        ]),
      );
      await writeManifest(folder, manifest);
      const shards = Object.values(packed).reduce((sum, each) => sum + each.shards.length, 0);
      const sequences = mapSources(manifest.sources, (_, source) => packed[source]?.part.sequences ?? 0);
      return { manifest, leftOut: leftOutFile.counts.reasons, added: { version, shards, sequences } };
    });
  } finally {
    await lock.release();
  }
}

/** Of the shards that were there; an index of an older version has none. */
function samplesOf(
  samples: Awaited<ReturnType<typeof readShardSamples>>,
  { manifest }: FormerIndex,
  source: string,
): readonly string[] {
  const count = ofSource(manifest.sources, source).shards.length;
  const known: unknown = samples[source];
  return Array.from({ length: count }, (_, at) => (Array.isArray(known) ? String(known[at] ?? '') : ''));
}

function grown(source: SourceManifest, packed: PackedSource | undefined, version: number): SourceManifest {
  if (packed === undefined) return source;
  const { part, shards } = packed;
  const sum = (count: keyof SourceCounts) => source[count] + part[count];
  return {
    ...source,
    shards: [...source.shards, ...shards],
    documents: sum('documents'),
    segments: sum('segments'),
    sequences: sum('sequences'),
    textTokens: sum('textTokens'),
    images: sum('images'),
    positions: sum('positions'),
    later: [...source.later, { version, ...part }],
  };
}
