import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type SourceId, WeftError } from '@weft/common';
import type { SourceKind } from '@weft/config';
import { isMissing } from '../files.js';

const EXTENSIONS: Readonly<Record<SourceKind, readonly string[]>> = {
  captioned: ['.tar'],
  interleaved: ['.tar'],
  text: ['.jsonl', '.txt'],
};
const COMPRESSED = /\.(tgz|gz|zst|bz2|xz|lz4|zip)$/i;

/**
 * The shards of a source: the `.tar` files (of text `.jsonl` and `.txt`) directly in `<directory>/<source>/`, sorted
 * by name, hidden ones left out. Other files are left alone, but compressed ones are refused, because a person who
 * put them there expects them to be read.
 *
 * @returns file names; none when the folder does not exist.
 * @throws `invalid_argument` for a compressed shard.
 */
export async function listShards(directory: string, source: SourceId, kind: SourceKind): Promise<readonly string[]> {
  const folder = join(directory, source);
  let names: string[];
  try {
    names = (await readdir(folder, { withFileTypes: true }))
      .filter((entry) => !entry.isDirectory())
      .map(({ name }) => name);
  } catch (thrown) {
    if (isMissing(thrown)) return [];
    throw WeftError.from(thrown);
  }
  const visible = names.filter((name) => !name.startsWith('.'));
  const compressed = visible.find((name) => COMPRESSED.test(name));
  if (compressed !== undefined)
    throw new WeftError('invalid_argument', `${join(folder, compressed)} is compressed`, {
      cure: `unpack it: shards of ${source} are ${EXTENSIONS[kind].join(' or ')} files, read at random places`,
    });
  return visible.filter((name) => EXTENSIONS[kind].some((extension) => name.endsWith(extension))).sort();
}
