import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type SourceId, WeftError } from '@weft/common';
import type { SourceKind } from '@weft/config';
import { isMissing } from '@weft/files';
import type { LeftOut } from './left-out.js';

const RECORDS = ['.jsonl', '.json', '.ndjson', '.jsonlines', '.parquet'];
const IMAGES = ['.png', '.jpg', '.jpeg', '.webp', '.gif', '.tif', '.tiff', '.avif'];

/** How the names of shards end, in lower case, by the kind of their source. */
export const SHARD_EXTENSIONS: Readonly<Record<SourceKind, readonly string[]>> = {
  captioned: ['.tar'],
  // Beside files of documents lie their images. A .json file beside archives tells how they were made.
  interleaved: ['.tar', ...RECORDS.filter((extension) => extension !== '.json'), ...IMAGES],
  text: ['.jsonl', '.txt', '.json', '.ndjson', '.jsonlines', '.parquet'],
  conversations: [...RECORDS, '.tar', ...IMAGES],
};
const COMPRESSED = /\.(tgz|gz|zst|bz2|xz|lz4|zip)$/i;

/** What the folder of a source holds. */
export interface FoundShards {
  /** Paths below the folder of the source, sorted. */
  readonly shards: readonly string[];
  /** Files and folders that are not read, sorted. */
  readonly leftOut: readonly LeftOut[];
}

/**
 * The shards of a dataset: all files below its folder whose names end as its kind asks, in any case, those of records and
 * text also with `.gz` or `.zst` behind. Other compressed files right in that folder are an error, because they may hold data;
 * those in folders below are left out.
 *
 * @param source names the dataset in messages
 * @returns nothing when the folder does not exist
 * @throws WeftError `invalid_argument` for a compressed file that cannot be read, `not_found` for a shard that is a link
 * to nothing
 */
export async function findShards(folder: string, source: SourceId, kind: SourceKind): Promise<FoundShards> {
  const shards: string[] = [];
  const leftOut: LeftOut[] = [];
  const walk = async (below: string): Promise<void> => {
    for (const entry of await entriesOf(join(folder, below), below === '')) {
      const name = below === '' ? entry.name : `${below}/${entry.name}`;
      const leave = (reason: string) => leftOut.push({ name: `${source}/${name}`, reason });
      if (entry.name.startsWith('.')) leave('its name begins with a dot');
      else if (entry.isDirectory()) await walk(name);
      else if ((await linkTarget(entry, join(folder, name))) === 'folder')
        leave('it is a link to a folder: move the folder here');
      else if (isShard(entry.name, kind) && (await linkTarget(entry, join(folder, name))) === 'nothing')
        throw new WeftError('not_found', `${join(folder, name)} is a link to a file that does not exist`, {
          hint: 'put the file there, or remove the link',
        });
      else if (isShard(entry.name, kind)) shards.push(name);
      else if (COMPRESSED.test(entry.name) && below === '') throw compressed(join(folder, name), source, kind);
      else if (COMPRESSED.test(entry.name)) leave('it is compressed: unpack it');
      else leave(reasonFor(entry.name, kind));
    }
  };
  await walk('');
  const descriptions = kind === 'interleaved' ? shards.filter((name) => describesArchive(name, shards)) : [];
  leftOut.push(
    ...descriptions.map((name) => ({ name: `${source}/${name}`, reason: 'it describes the archive of its name' })),
  );
  const read = shards.filter((name) => !descriptions.includes(name));
  return { shards: read.sort(), leftOut: leftOut.sort(byName) };
}

/** img2dataset writes `00000.parquet` beside `00000.tar`, which holds the same and the images. */
function describesArchive(name: string, shards: readonly string[]): boolean {
  return /\.(parquet|jsonl)$/i.test(name) && shards.includes(name.replace(/\.[^.]*$/, '.tar'));
}

/** Folders of the demo that only runs of fine-tuning read: no typing errors. */
const DEMO_CONVERSATIONS = ['conversations', 'heldOutConversations'];

/** Folders and shards beside the folders of the sources, apart from those that Weft itself writes: typing errors, maybe. */
export async function besideSources(
  directory: string,
  sources: readonly SourceId[],
  index: string | null,
): Promise<readonly LeftOut[]> {
  const ownIndex = index !== null && dirname(index) === directory ? [basename(index)] : [];
  const own = new Set([...sources, 'index', 'cache', ...ownIndex, ...DEMO_CONVERSATIONS]);
  const wanted = sources.join(', ');
  return (await entriesOf(directory, true))
    .filter(({ name }) => !own.has(name) && !name.startsWith('.'))
    .flatMap((entry): LeftOut[] => {
      if (entry.isDirectory()) return [{ name: `${entry.name}/`, reason: `it is no source of this run (${wanted})` }];
      if (!/\.(tar|jsonl|ndjson|gz|parquet)$/i.test(entry.name)) return [];
      return [{ name: entry.name, reason: `it lies in the folder of no source (${wanted})` }];
    })
    .sort(byName);
}

/** Text is read from beginning to end, so it may be packed. */
const PACKED_TEXT = /(?<=\.(jsonl|txt|json|ndjson|jsonlines))\.(gz|zst)$/;

function isShard(name: string, kind: SourceKind): boolean {
  const plain = name.toLowerCase().replace(PACKED_TEXT, '');
  return SHARD_EXTENSIONS[kind].some((extension) => plain.endsWith(extension));
}

async function entriesOf(folder: string, mayBeMissing: boolean): Promise<readonly Dirent[]> {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch (thrown) {
    if (mayBeMissing && isMissing(thrown)) return [];
    throw WeftError.from(thrown);
  }
}

/** What a symbolic link leads to; undefined for what is no link. */
async function linkTarget(entry: Dirent, path: string): Promise<'folder' | 'file' | 'nothing' | undefined> {
  if (!entry.isSymbolicLink()) return undefined;
  return await stat(path).then(
    (target) => (target.isDirectory() ? 'folder' : 'file'),
    () => 'nothing',
  );
}

const byName = (a: LeftOut, b: LeftOut) => (a.name < b.name ? -1 : 1);

/** What a file looks like by its name, and what to do about it. */
const FORMATS: readonly (readonly [RegExp, string])[] = [
  [/\.parquet$/, 'Parquet is read for text and documents alone: pack images with their texts into .tar shards'],
  [/\.(arrow|feather)$/, 'Arrow tables are not read: write them as .parquet'],
  [/\.(csv|tsv)$/, 'tables are not read: write their text as .jsonl'],
  [
    /\.(tfrecords?|mdb|lmdb|h5|hdf5|npy|npz|pkl|pt|rec|beton|mds)$/,
    'this format is not read: write text as .jsonl, images as .tar shards',
  ],
  [/\.(bin|idx)$/, 'packed tokens are not read: write the text as .jsonl'],
  [/\.(html?|xml|pdf|docx?|epub|md|rtf)$/, 'documents of this format are not read: write their text as .txt or .jsonl'],
  [/\.(png|jpe?g|jfif|webp|gif|tiff?|avif|bmp)$/, 'images are read from .tar shards: pack them with their texts'],
];

function reasonFor(name: string, kind: SourceKind): string {
  const format = FORMATS.find(([pattern]) => pattern.test(name.toLowerCase()));
  return format?.[1] ?? `a source of kind ${kind} reads ${SHARD_EXTENSIONS[kind].join(', ')}`;
}

function compressed(path: string, source: SourceId, kind: SourceKind): WeftError {
  const extensions = SHARD_EXTENSIONS[kind].join(' or ');
  const wanted = kind === 'text' ? `${extensions} files, text also with .gz or .zst behind` : `${extensions} files`;
  return new WeftError('invalid_argument', `${path} is compressed`, {
    hint: `unpack it: shards of ${source} are ${wanted}${kind === 'text' ? '' : ', archives read by byte offset'}`,
  });
}
