import { stat } from 'node:fs/promises';
import { WeftError } from '@weft/common';
import type { Blob, BlobStore } from './blob-store.js';
import { diskStore } from './disk-store.js';
import { isMissing } from './read-bytes.js';

/** What a store tells of a blob without reading it. */
export interface BlobStatus {
  readonly bytes: number;
  /** Changes whenever the content does: an ETag, or the hash of the content. Null where the store has none. */
  readonly version: string | null;
}

/** A blob in a listing. */
export interface ListedBlob extends BlobStatus {
  /** Its path below the folder. */
  readonly name: string;
}

/** A range of a blob that will be read soon. */
export interface BlobRange {
  readonly path: string;
  /** As the index knows it. */
  readonly known: BlobStatus | undefined;
  readonly offset: number;
  readonly bytes: number;
}

/** What reads one blob after another asks no more of a store. */
export type BlobReader = Pick<BlobStore, 'open'>;

/**
 * Where shards lie and are read from: a disk, or a store at a distance. `BlobStore` is the port of what is written; this one
 * adds what data that others wrote need: listings with sizes, versions, and reads that are announced.
 */
export interface ShardStore extends BlobReader {
  /**
   * Opens a blob for reads of ranges.
   *
   * @param known what an index says of it: it is not asked for again, and bytes of another version are refused with
   *   `failed_precondition`
   * @throws WeftError `not_found` when there is none
   */
  open(path: string, known?: BlobStatus): Promise<Blob>;

  /** Undefined when there is no such blob. */
  status(path: string): Promise<BlobStatus | undefined>;

  /** The names directly in a folder, sorted, those of folders with a slash behind; none where a store cannot tell. */
  names(folder: string): Promise<readonly string[]>;

  /**
   * All blobs below a folder, at any depth, by name; none when there is no such folder.
   *
   * @throws WeftError `invalid_argument` for a store that cannot list
   */
  list(folder: string): Promise<readonly ListedBlob[]>;

  /** Asks for ranges that will be read soon. Resolves when they are near, or could not be had; never rejects. */
  prepare(ranges: readonly BlobRange[], signal?: AbortSignal): Promise<void>;
}

/** Shards as files of this machine, or of a file system that all hosts share. */
export const diskShards: ShardStore = {
  open: (path) => diskStore.open(path),

  async status(path) {
    try {
      const found = await stat(path);
      return found.isFile() ? { bytes: found.size, version: null } : undefined;
    } catch (thrown) {
      if (isMissing(thrown)) return undefined;
      throw WeftError.from(thrown);
    }
  },

  names: (folder) =>
    Promise.reject(new WeftError('internal', `the folder ${folder} is walked by besideSources, which knows links`)),

  list: (folder) =>
    Promise.reject(new WeftError('internal', `the folder ${folder} is walked by findShards, which knows links`)),

  prepare: () => Promise.resolve(),
};

/** A store whose blobs an index knows: what is known of a path need not be said when it is opened. */
export function withKnown(store: ShardStore, known: ReadonlyMap<string, BlobStatus>): ShardStore {
  return {
    ...store,
    status: async (path) => known.get(path) ?? (await store.status(path)),
    open: (path, status) => store.open(path, status ?? known.get(path)),
    prepare: (ranges, signal) =>
      store.prepare(
        ranges.map((range) => ({ ...range, known: range.known ?? known.get(range.path) })),
        signal,
      ),
  };
}
