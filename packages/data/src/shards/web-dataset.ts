import { WeftError } from '@weft/common';
import type { TarEntry } from '../tar/walk-tar.js';
import type { ShardFile } from './shard-file.js';

/** Members that share a basename: `0001.png`, `0001.txt` and `0001.json` are one sample. */
export interface WebDatasetSample {
  /** Path and basename up to its first dot. */
  readonly key: string;
  /** By what follows the first dot, in lower case: `png`, `json`, `0.png`. */
  readonly members: ReadonlyMap<string, TarEntry>;
}

/**
 * The samples of a WebDataset shard, in order. Members of a sample lie side by side, as the format asks.
 * Hidden members, and those without an extension, are left out.
 *
 * @throws `corrupt_data` for a damaged archive, or for two members of one name in a sample.
 */
export async function* webDatasetSamples(shard: ShardFile): AsyncGenerator<WebDatasetSample, void, undefined> {
  let key: string | undefined;
  let members = new Map<string, TarEntry>();
  for await (const entry of shard.entries()) {
    const folderEnd = entry.name.lastIndexOf('/') + 1;
    const dot = entry.name.indexOf('.', folderEnd);
    if (dot <= folderEnd) continue;
    const entryKey = entry.name.slice(0, dot);
    const extension = entry.name.slice(dot + 1).toLowerCase();
    if (entryKey !== key) {
      if (key !== undefined) yield { key, members };
      key = entryKey;
      members = new Map();
    }
    if (members.has(extension))
      throw new WeftError('corrupt_data', `${shard.path} holds ${entry.name} twice in one sample`, {
        cure: 'give every member of a shard its own name',
      });
    members.set(extension, entry);
  }
  if (key !== undefined) yield { key, members };
}
