import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { buildTarHeader, TAR_BLOCK_BYTES } from './tar-header.js';

/** Writes a tar archive whose bytes depend only on the names and contents of its members. */
export class TarWriter {
  readonly #handle: FileHandle;
  readonly #hash = createHash('sha256');
  #bytes = 0;

  /** Creates the file; it must not exist. */
  static async create(path: string): Promise<TarWriter> {
    return new TarWriter(await open(path, 'wx'));
  }

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Bytes written so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Appends a file. */
  async add(name: string, content: Uint8Array): Promise<void> {
    const padding = new Uint8Array(-content.length & (TAR_BLOCK_BYTES - 1));
    await this.#write(Buffer.concat([buildTarHeader(name, content.length), content, padding]));
  }

  /** Writes the end mark, makes the file durable and closes it. */
  async finish(): Promise<{ bytes: number; sha256: string }> {
    await this.#write(new Uint8Array(2 * TAR_BLOCK_BYTES));
    await this.#handle.sync();
    await this.#handle.close();
    return { bytes: this.#bytes, sha256: this.#hash.digest('hex') };
  }

  /** Closes the file unfinished, after an error. */
  async abandon(): Promise<void> {
    await this.#handle.close();
  }

  async #write(content: Uint8Array): Promise<void> {
    this.#hash.update(content);
    this.#bytes += content.length;
    await this.#handle.writeFile(content);
  }
}
