import { WeftError } from '@weft/common';
import { type Blob, type BlobStatus, diskShards, type ShardStore } from '@weft/files';
import { BlobCursor } from './byte-cursor.js';
import { type TarEntry, walkTar } from './walk-tar.js';

/** The largest member that is read into memory. */
export const LARGEST_MEMBER_BYTES = 64 * 1024 * 1024;

/** An open tar shard: lists its members, and reads any of them by byte offset. */
export class ShardFile {
  readonly path: string;
  readonly bytes: number;
  readonly #blob: Blob;

  /**
   * @param known what the index says of it
   * @throws WeftError `not_found` when there is no such file.
   */
  static async open(path: string, store: ShardStore = diskShards, known?: BlobStatus): Promise<ShardFile> {
    try {
      return new ShardFile(path, await store.open(path, known));
    } catch (cause) {
      if (!WeftError.is(cause, 'not_found')) throw cause;
      throw new WeftError('not_found', `the shard ${path} does not exist`, {
        cause,
        hint: 'put it back, or run weft data index <recipe>',
      });
    }
  }

  private constructor(path: string, blob: Blob) {
    this.path = path;
    this.#blob = blob;
    this.bytes = blob.bytes;
  }

  /** The members in order; see `walkTar`. */
  entries(): AsyncGenerator<TarEntry, void, undefined> {
    return walkTar(new BlobCursor(this.#blob), this.path);
  }

  /** @throws WeftError `corrupt_data` when the range is not inside the file or larger than LARGEST_MEMBER_BYTES. */
  async read(offset: number, bytes: number): Promise<Buffer> {
    if (bytes > LARGEST_MEMBER_BYTES)
      throw new WeftError(
        'corrupt_data',
        `the member at byte ${offset} of ${this.path} claims ${bytes} bytes, more than the ${LARGEST_MEMBER_BYTES} allowed`,
      );
    const content = Buffer.allocUnsafe(bytes);
    await this.#blob.read(content, offset);
    return content;
  }

  /** The name of the member whose data starts at `offset`, else "at byte …". Walks the archive: for messages only. */
  async nameAt(offset: number): Promise<string> {
    try {
      for await (const entry of this.entries()) if (entry.offset === offset) return entry.name;
    } catch {
      // The archive is damaged: the caller's message names the offset instead.
    }
    return `at byte ${offset}`;
  }

  async close(): Promise<void> {
    await this.#blob.close();
  }
}
