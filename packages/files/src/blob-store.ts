import { WeftError } from '@weft/common';

/** What is written: a text in UTF-8, bytes, or bytes in chunks, so that a large blob need not be in memory. */
export type BlobContent = string | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/**
 * Where checkpoints, configurations, metrics and data shards are kept. The port asks for no more than an object store can
 * do: blobs are written whole, read whole or in ranges, listed and removed. There is no rename. Paths are those of the
 * store: files for the disk, `s3://bucket/key` for an object store.
 */
export interface BlobStore {
  /**
   * Writes a whole blob, and the folders above it; replaces one of the same name. Readers see all of the new blob or all
   * of the old one. Once this resolves, it survives a crash of the machine.
   *
   * @throws WeftError `failed_precondition` naming the path when it cannot be written, for instance to a full disk.
   */
  write(path: string, content: BlobContent): Promise<void>;

  /**
   * The whole of a small blob, in one request.
   *
   * @throws WeftError `not_found` when there is none, `invalid_argument` for a folder, `failed_precondition` when it
   *   cannot be read.
   */
  read(path: string): Promise<Uint8Array>;

  /** Opens a blob for reads of ranges. Throws as `read`. */
  open(path: string): Promise<Blob>;

  /** Bytes of a blob. Throws as `read`. */
  size(path: string): Promise<number>;

  /** The names directly in a folder, sorted; empty when the folder does not exist. */
  list(folder: string): Promise<string[]>;

  /** Removes a blob, or a folder with all in it; missing ones are no error. */
  remove(path: string): Promise<void>;
}

/** An open blob; its size does not change while it is open. */
export interface Blob {
  readonly bytes: number;
  /** Fills `into` with the bytes from `position` on. Throws `corrupt_data` when the blob ends first. */
  read(into: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * A store that can also append, which object stores cannot: an append to `s3://…` would write the whole blob again. What
 * grows row by row (metrics) asks for this one, so that the compiler keeps it off other stores.
 */
export interface AppendableStore extends BlobStore {
  /**
   * Opens a blob to append to; made when it is missing, but not its folder. Appends go to the blob that was opened, even
   * when another process has replaced it since.
   */
  openAppend(path: string): Promise<BlobAppender>;
}

export interface BlobAppender {
  /** @throws WeftError `failed_precondition` when it cannot be written. */
  append(text: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens, uses and closes. */
export async function withBlob<T>(
  store: Pick<BlobStore, 'open'>,
  path: string,
  use: (blob: Blob) => Promise<T>,
): Promise<T> {
  const blob = await store.open(path);
  try {
    return await use(blob);
  } finally {
    await blob.close();
  }
}

/**
 * The whole of a small blob as UTF-8. Throws as `BlobStore.read`.
 *
 * @param mostBytes a larger one is refused by its size, before memory is taken for it; default: as large as it is
 */
export async function readText(store: BlobStore, path: string, mostBytes?: number): Promise<string> {
  const bytes = mostBytes === undefined ? 0 : await store.size(path);
  if (mostBytes !== undefined && bytes > mostBytes)
    throw new WeftError('corrupt_data', `${path} has ${bytes} bytes, and no such file has more than ${mostBytes}`);
  return Buffer.from(await store.read(path)).toString('utf8');
}

/** A blob from its start to its end, in chunks of at most `chunkBytes`. Every chunk is a buffer of its own. */
export async function* blobChunks(blob: Blob, chunkBytes: number): AsyncGenerator<Buffer, void, undefined> {
  for (let position = 0; position < blob.bytes; position += chunkBytes) {
    const chunk = Buffer.allocUnsafe(Math.min(chunkBytes, blob.bytes - position));
    await blob.read(chunk, position);
    yield chunk;
  }
}
