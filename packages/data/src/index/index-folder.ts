import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type DataConfig, datasetSettings } from '@weft/config';
import { fileBytes, joinPath, type ShardStore } from '@weft/files';
import { shardStore } from '@weft/remote';
import { openRunTokenizer } from '../formats/open-tokenizer.js';
import type { Tokenizer } from '../formats/tokenizer.js';
import { type DatasetConfig, datasetFolder, indexDirectory, packingLimits, readManifest } from './manifest.js';

/**
 * The folder of the index of a run. In a `data.index` that several data folders share each has one of its own, whose name ends in a
 * hash of where the data lie: `-F1a2b3c4d`. One without, which older versions made, is theirs whose shards it holds; and data that
 * are seen at another path, as from another host, find the one that holds their shards.
 *
 * @param use `write`: where an index of these data is made or grows, never one of data at another path
 */
export async function findIndexFolder(
  config: DatasetConfig,
  { tokenizer, use }: { readonly tokenizer?: Tokenizer; readonly use: 'read' | 'write' },
): Promise<string> {
  const { data } = config;
  const plain = indexDirectory(data, tokenizer ?? (await openRunTokenizer(config)), packingLimits(config));
  if (data.index === null) return plain;
  const own = `${plain}-F${hashOfFolders(data)}`;
  if (await hasIndex(own)) return own;
  const store = shardStore(data.remote);
  if (await holdsShards(plain, data, store)) return plain;
  if (use === 'write') return own;
  const names = await readdir(dirname(plain)).catch(() => []);
  const others = names.filter((name) => name.startsWith(`${basename(plain)}-F`)).sort();
  for (const name of others) {
    const folder = join(dirname(plain), name);
    if (await holdsShards(folder, data, store)) return folder;
  }
  return own;
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

/** Whether the shards of an index lie in the folders of these data: those that are looked at have their names and sizes. */
async function holdsShards(folder: string, data: DataConfig, store: ShardStore): Promise<boolean> {
  const found = await readManifest(folder).catch(() => undefined);
  if (found === undefined) return false;
  for (const [source, { shards }] of Object.entries(found.manifest.sources)) {
    const step = Math.max(1, Math.ceil(shards.length / COMPARED));
    for (let at = 0; at < shards.length; at += step) {
      const { name, bytes } = shards[at]!;
      const path = joinPath(datasetFolder(data, source), name);
      if ((await store.status(path).catch(() => undefined))?.bytes !== bytes) return false;
    }
  }
  return true;
}
