import { type FileHandle, open } from 'node:fs/promises';
import { WeftError } from '@weft/common';
import { isMissing, readExactly } from '@weft/files';
import { FileCursor } from './byte-cursor.js';
import { type TarEntry, walkTar } from './walk-tar.js';

/** The largest member that is read into memory. */
export const LARGEST_MEMBER_BYTES = 64 * 1024 * 1024;

/** An open tar shard: lists its members, and reads any of them by byte offset. */
export class ShardFile {
  readonly path: string;
  readonly bytes: number;
  readonly #handle: FileHandle;

  /** @throws WeftError `not_found` when there is no such file. */
  static async open(path: string): Promise<ShardFile> {
    try {
      const handle = await open(path, 'r');
      return new ShardFile(path, handle, (await handle.stat()).size);
    } catch (thrown) {
      if (!isMissing(thrown)) throw WeftError.from(thrown);
      throw new WeftError('not_found', `the shard ${path} does not exist`, {
        cure: 'put it back, or run weft data index <recipe>',
      });
    }
  }

  private constructor(path: string, handle: FileHandle, bytes: number) {
    this.path = path;
    this.#handle = handle;
    this.bytes = bytes;
  }

  /** The members in order; see `walkTar`. */
  entries(): AsyncGenerator<TarEntry, void, undefined> {
    return walkTar(new FileCursor(this.#handle, this.bytes), this.path);
  }

  /** @throws WeftError `corrupt_data` when the range is not inside the file or larger than LARGEST_MEMBER_BYTES. */
  async read(offset: number, bytes: number): Promise<Buffer> {
    if (bytes > LARGEST_MEMBER_BYTES)
      throw new WeftError(
        'corrupt_data',
        `the member at byte ${offset} of ${this.path} claims ${bytes} bytes, more than the ${LARGEST_MEMBER_BYTES} allowed`,
      );
    return readExactly(this.#handle, this.path, offset, bytes);
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
    await this.#handle.close();
  }
}
