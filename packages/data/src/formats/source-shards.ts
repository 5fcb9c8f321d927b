import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type SourceId, WeftError } from '@weft/common';
import type { SourceKind } from '@weft/config';
import { isMissing } from '@weft/files';
import { type DocumentPart, type SourceDocument, textParts } from './document.js';
import { ShardFile } from './shard-file.js';
import { textDocuments } from './text-shard.js';
import type { TarEntry } from './walk-tar.js';
import { readCaptioned, readInterleaved, webDatasetSamples } from './webdataset-sample.js';

/** How the names of shards end, by the kind of their source. */
export const SHARD_EXTENSIONS: Readonly<Record<SourceKind, readonly string[]>> = {
  captioned: ['.tar'],
  interleaved: ['.tar'],
  text: ['.jsonl', '.txt'],
};
const COMPRESSED = /\.(tgz|gz|zst|bz2|xz|lz4|zip)$/i;

/**
 * The shards of a source: the `.tar` files (of kind text: `.jsonl` and `.txt`) directly in `<directory>/<source>/`, sorted by
 * name. Hidden and other files are skipped; compressed shards are an error, because skipping them would lose data
 * silently.
 *
 * @returns file names; none when the folder does not exist
 * @throws WeftError `invalid_argument` for a compressed shard
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
      hint: `unpack it: shards of ${source} are ${SHARD_EXTENSIONS[kind].join(' or ')} files, read by byte offset`,
    });
  return visible.filter((name) => SHARD_EXTENSIONS[kind].some((extension) => name.endsWith(extension))).sort();
}

/**
 * The documents of one shard, in order; the kind of its source says how it is read. A captioned document is its image, then its caption.
 *
 * @param shardNumber the index of the shard, copied into every `ImageLocation`
 * @throws WeftError `corrupt_data` naming shard and sample or line
 */
export async function* shardDocuments(
  path: string,
  kind: SourceKind,
  shardNumber: number,
): AsyncGenerator<SourceDocument, void, undefined> {
  if (kind === 'text') {
    yield* textDocuments(path);
    return;
  }
  const image = ({ name, offset, bytes }: TarEntry): DocumentPart => ({
    kind: 'image',
    image: { shard: shardNumber, offset, bytes },
    name,
  });
  const shard = await ShardFile.open(path);
  try {
    for await (const sample of webDatasetSamples(shard)) {
      const content = kind === 'captioned' ? await readCaptioned(shard, sample) : await readInterleaved(shard, sample);
      const parts = content.flatMap((part) => ('image' in part ? [image(part.image)] : [...textParts(part.text)]));
      yield { name: `${basename(path)} ${sample.key}`, parts };
    }
  } finally {
    await shard.close();
  }
}
