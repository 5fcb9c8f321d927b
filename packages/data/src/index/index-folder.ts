import { createHash } from 'node:crypto';
import { copyFile, link, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { ofSource, type PerSource } from '@weft/common';
import { type DataConfig, datasetSettings } from '@weft/config';
import { buildDirectory, fileBytes, joinPath, type ShardStore } from '@weft/files';
import { shardStore } from '@weft/remote';
import { findShards } from '../formats/find-shards.js';
import { openRunTokenizer } from '../formats/open-tokenizer.js';
import type { Tokenizer } from '../formats/tokenizer.js';
import { withIndexLock } from './index-lock.js';
import {
  type DatasetConfig,
  datasetFolder,
  type IndexManifest,
  indexDirectory,
  packingLimits,
  readManifest,
} from './manifest.js';

/**
 * The folder of the index of a run. In a `data.index` that several data folders share each has one of its own, whose name ends in a
 * hash of where the data lie: `-F1a2b3c4d`. One without, which older versions made, is read by all data that have its shards; and
 * data that are seen at another path, as from another host, find the one that holds their shards: before others the one that holds
 * all of them and no more.
 *
 * @param use `write`: where an index of these data is made or grows, never one that may be of other data
 */
export async function findIndexFolder(
  config: DatasetConfig,
  { tokenizer, use }: { readonly tokenizer?: Tokenizer; readonly use: 'read' | 'write' },
): Promise<string> {
  const { data } = config;
  const plain = await plainFolder(config, tokenizer);
  if (data.index === null) return plain;
  const own = `${plain}-F${hashOfFolders(data)}`;
  if (await hasIndex(own)) return own;
  const store = shardStore(data.remote);
  const names = use === 'write' ? [] : await readdir(dirname(plain)).catch(() => []);
  const others = names.filter((name) => name.startsWith(`${basename(plain)}-F`)).sort();
  const found: FoundIndex[] = [];
  for (const folder of [plain, ...others.map((name) => join(dirname(plain), name))]) {
    const manifest = await heldManifest(folder, data, store);
    if (manifest !== undefined) found.push({ folder, manifest });
  }
  if (found.length === 0) return own;
  if (use === 'write') return (await wholeOf(found, data, store))?.folder ?? own;
  const whole = found.length === 1 ? undefined : await wholeOf(found, data, store).catch(() => undefined);
  return (whole ?? found[0]!).folder;
}

/**
 * Begins an index of one's own with what the one without a hash holds, where that holds some of these shards and no others: it
 * grows here, and the sequences keep their numbers, while data that still read the other one find it as it was.
 *
 * @param own as `findIndexFolder` gives it to write
 * @throws WeftError `failed_precondition` where another process does the same
 */
export async function beginWithPlain(own: string, config: DatasetConfig, tokenizer: Tokenizer): Promise<void> {
  const { data } = config;
  const plain = await plainFolder(config, tokenizer);
  if (own === plain || (await hasIndex(own))) return;
  const store = shardStore(data.remote);
  const manifest = await heldManifest(plain, data, store);
  if (manifest === undefined) return;
  const meant = await meantShards(data, store);
  const isPart = Object.entries(manifest.sources).every(([source, { shards }]) =>
    shards.every(({ name }) => ofSource(meant, source).has(name)),
  );
  if (!isPart) return;
  await withIndexLock(own, undefined, () =>
    buildDirectory(own, async (unfinished) => {
      // The files of an index are replaced, never written into.
      for (const name of await readdir(plain))
        await link(join(plain, name), join(unfinished, name)).catch(() =>
          copyFile(join(plain, name), join(unfinished, name)),
        );
    }),
  );
}

interface FoundIndex {
  readonly folder: string;
  readonly manifest: IndexManifest;
}

async function plainFolder(config: DatasetConfig, tokenizer?: Tokenizer): Promise<string> {
  return indexDirectory(config.data, tokenizer ?? (await openRunTokenizer(config)), packingLimits(config));
}

function hashOfFolders(data: DataConfig): string {
  const folders = Object.keys(data.sources).map((source) => [
    datasetFolder(data, source),
    datasetSettings(data, source).shards ?? null,
  ]);
  return createHash('sha256').update(JSON.stringify(folders)).digest('hex').slice(0, 8);
}

const hasIndex = async (folder: string) => (await fileBytes(join(folder, 'index.json'))) !== undefined;

/** So many shards of each source are looked at. */
const COMPARED = 16;

/** The manifest of an index whose shards lie in the folders of these data: those that are looked at have their names and sizes. */
async function heldManifest(folder: string, data: DataConfig, store: ShardStore): Promise<IndexManifest | undefined> {
  const found = await readManifest(folder).catch(() => undefined);
  if (found === undefined) return undefined;
  for (const [source, { shards }] of Object.entries(found.manifest.sources)) {
    const step = Math.max(1, Math.ceil(shards.length / COMPARED));
    for (let at = 0; at < shards.length; at += step) {
      const { name, bytes } = shards[at]!;
      const path = joinPath(datasetFolder(data, source), name);
      if ((await store.status(path).catch(() => undefined))?.bytes !== bytes) return undefined;
    }
  }
  return found.manifest;
}

/** The first that holds all shards that are meant, and no others. */
async function wholeOf(
  found: readonly FoundIndex[],
  data: DataConfig,
  store: ShardStore,
): Promise<FoundIndex | undefined> {
  const meant = await meantShards(data, store);
  return found.find(({ manifest }) =>
    Object.entries(manifest.sources).every(([source, { shards }]) => {
      const names = ofSource(meant, source);
      return shards.length === names.size && shards.every(({ name }) => names.has(name));
    }),
  );
}

/** The names of the shards that these data mean. */
async function meantShards(data: DataConfig, store: ShardStore): Promise<PerSource<ReadonlySet<string>>> {
  const meant: Record<string, ReadonlySet<string>> = {};
  for (const [source, kind] of Object.entries(data.sources)) {
    const { shards } = datasetSettings(data, source);
    const found = await findShards({ folder: datasetFolder(data, source), source, kind, shards }, store);
    meant[source] = new Set(found.shards);
  }
  return meant;
}
