import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { type SourceId, WeftError } from '@weft/common';
import type { SourceKind } from '@weft/config';
import { type BlobStatus, diskShards, isMissing, isRemote, type ShardStore } from '@weft/files';
import type { LeftOut } from './left-out.js';
import { namedShards } from './named-shards.js';

const RECORDS = ['.jsonl', '.json', '.ndjson', '.jsonlines', '.parquet', '.arrow'];
const IMAGES = ['.png', '.jpg', '.jpeg', '.webp', '.gif', '.tif', '.tiff', '.avif'];

/** How the names of shards end, in lower case, by the kind of their source. */
export const SHARD_EXTENSIONS: Readonly<Record<SourceKind, readonly string[]>> = {
  captioned: ['.tar'],
  // Beside files of documents lie their images. A .json file beside archives tells how they were made.
  interleaved: ['.tar', ...RECORDS.filter((extension) => extension !== '.json'), ...IMAGES],
  text: ['.jsonl', '.txt', '.json', '.ndjson', '.jsonlines', '.parquet', '.arrow'],
  conversations: [...RECORDS, '.tar', ...IMAGES],
};
const COMPRESSED = /\.(tgz|gz|zst|bz2|xz|lz4|zip)$/i;

/** What the folder of a source holds. */
export interface FoundShards {
  /** Paths below the folder of the source, sorted. */
  readonly shards: readonly string[];
  /** Files and folders that are not read, sorted. */
  readonly leftOut: readonly LeftOut[];
  /** What was told of them meanwhile, by path below the folder: of shards at an address. */
  readonly statuses: ReadonlyMap<string, BlobStatus>;
}

/** The folder of a dataset, or its address. */
export interface ShardFolder {
  readonly folder: string;
  /** Names the dataset in messages. */
  readonly source: SourceId;
  readonly kind: SourceKind;
  /** As `DatasetSettings.shards`; default: all that the kind reads. */
  readonly shards?: string | null;
}

/**
 * The shards of a dataset, on this machine or at an address: those that are named, else all that its kind reads.
 *
 * @throws WeftError as `foundShards` and `namedShards`; `invalid_argument` for an address whose server has no listings
 */
export async function findShards(where: ShardFolder, store: ShardStore = diskShards): Promise<FoundShards> {
  const { folder, source, kind, shards } = where;
  if (typeof shards === 'string') return found(await namedShards({ folder, source, shards }, store), []);
  return isRemote(folder) ? listedShards(where, store) : foundShards(folder, source, kind);
}

function found(shards: readonly (BlobStatus & { readonly name: string })[], leftOut: readonly LeftOut[]): FoundShards {
  const statuses = new Map(shards.map(({ name, bytes, version }) => [name, { bytes, version }]));
  return { shards: [...statuses.keys()].sort(), leftOut, statuses };
}

async function listedShards({ folder, source, kind }: ShardFolder, store: ShardStore): Promise<FoundShards> {
  const leftOut: LeftOut[] = [];
  const listed = await store.list(folder);
  const isHidden = (name: string) => name.split('/').some((part) => part.startsWith('.'));
  const readable = listed.filter(({ name }) => {
    const leave = (reason: string) => leftOut.push({ name: `${source}/${name}`, reason });
    if (isHidden(name)) leave('its name begins with a dot');
    else if (isShard(name, kind)) return true;
    else if (COMPRESSED.test(name) && !name.includes('/')) throw compressed(`${folder}/${name}`, source, kind);
    else if (COMPRESSED.test(name)) leave('it is compressed: unpack it');
    else leave(reasonFor(name, kind));
    return false;
  });
  const descriptions = descriptionsIn(
    readable.map(({ name }) => name),
    kind,
  );
  for (const name of descriptions) leftOut.push({ name: `${source}/${name}`, reason: DESCRIBES });
  return found(
    readable.filter(({ name }) => !descriptions.has(name)),
    leftOut.sort(byName),
  );
}

/**
 * The shards in a folder of this machine: all files below its folder whose names end as its kind asks, in any case, those of records and
 * text also with `.gz` or `.zst` behind. Other compressed files right in that folder are an error, because they may hold data;
 * those in folders below are left out.
 *
 * @param source names the dataset in messages
 * @returns nothing when the folder does not exist
 * @throws WeftError `invalid_argument` for a compressed file that cannot be read, `not_found` for a shard that is a link
 * to nothing
 */
async function foundShards(folder: string, source: SourceId, kind: SourceKind): Promise<FoundShards> {
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
  const descriptions = descriptionsIn(shards, kind);
  for (const name of descriptions) leftOut.push({ name: `${source}/${name}`, reason: DESCRIBES });
  const read = shards.filter((name) => !descriptions.has(name));
  return { shards: read.sort(), leftOut: leftOut.sort(byName), statuses: new Map() };
}

const DESCRIBES = 'it describes the data beside it';

/** Files that describe others. img2dataset writes `00000.parquet` beside `00000.tar`, which holds the same and the images. */
function descriptionsIn(shards: readonly string[], kind: SourceKind): ReadonlySet<string> {
  const all = new Set(shards);
  const isOfArchive = (name: string) =>
    kind === 'interleaved' && /\.(parquet|jsonl)$/i.test(name) && all.has(name.replace(/\.[^.]*$/, '.tar'));
  // `save_to_disk` of Hugging Face's `datasets` writes them beside the Arrow files, or above them.
  const hasArrow = shards.some((name) => /\.arrow$/i.test(name));
  const isOfArrow = (name: string) => hasArrow && /(^|\/)(dataset_info|dataset_dict|state)\.json$/.test(name);
  return new Set(shards.filter((name) => isOfArchive(name) || isOfArrow(name)));
}

/** Folders of the demo that only runs of fine-tuning read: no typing errors. */
const DEMO_CONVERSATIONS = ['conversations', 'heldOutConversations'];

/** Folders and shards beside the folders of the sources, apart from those that Weft itself writes: typing errors, maybe. */
export async function besideSources(
  directory: string,
  sources: readonly SourceId[],
  index: string | null,
  store: ShardStore = diskShards,
): Promise<readonly LeftOut[]> {
  const ownIndex = index !== null && dirname(index) === directory ? [basename(index)] : [];
  const own = new Set([...sources, 'index', 'cache', ...ownIndex, ...DEMO_CONVERSATIONS]);
  const wanted = sources.join(', ');
  const entries = isRemote(directory)
    ? (await store.names(directory)).map((name) => ({
        name: name.replace(/\/$/, ''),
        isDirectory: () => name.endsWith('/'),
      }))
    : await entriesOf(directory, true);
  return entries
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
  [/\.arrow$/, 'Arrow is read for text and documents alone: pack images with their texts into .tar shards'],
  [/\.feather$/, 'Feather is read where its name ends in .arrow'],
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
