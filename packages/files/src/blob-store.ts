/**
 * Where checkpoints, configurations, metrics and data shards lie. The port asks for no more than an object store can
 * give as well: whole blobs written at once, ranges read, names listed. There is no rename and no append.
 */
export interface BlobStore {
  /**
   * Writes a whole blob, replacing one of the same name. Readers see all of it or nothing of it; once this resolves,
   * it survives a crash of the machine.
   *
   * @throws `failed_precondition` naming the path when it cannot be written.
   */
  write(path: string, chunks: Iterable<Uint8Array>): Promise<void>;

  /** Opens a blob for reading. Throws `not_found` when there is none. */
  open(path: string): Promise<Blob>;

  /** The names below a folder, sorted; empty when the folder does not exist. */
  list(folder: string): Promise<string[]>;

  /** Removes a blob, or a folder with all in it; missing ones are no error. */
  remove(path: string): Promise<void>;
}

export interface Blob {
  readonly bytes: number;
  /** Fills `into` from `position` on. Throws `corrupt_data` when the blob ends first. */
  read(into: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

/** Opens, uses and closes. */
export async function withBlob<T>(store: BlobStore, path: string, use: (blob: Blob) => Promise<T>): Promise<T> {
  const blob = await store.open(path);
  try {
    return await use(blob);
  } finally {
    await blob.close();
  }
}

/** The whole of a small blob as UTF-8. Throws `not_found` when there is none. */
export async function readText(store: BlobStore, path: string): Promise<string> {
  return withBlob(store, path, async (blob) => {
    const content = new Uint8Array(blob.bytes);
    await blob.read(content, 0);
    return Buffer.from(content).toString('utf8');
  });
}
