import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import type { WrittenFile } from './manifest.js';

const BUFFER_BYTES = 1 << 20;

/** Appends small records to a file through one large buffer, and hashes what it writes. */
export class TableWriter {
  readonly #handle: FileHandle;
  readonly #hash = createHash('sha256');
  #buffer = Buffer.alloc(BUFFER_BYTES);
  #filled = 0;
  #written = 0;

  static async create(path: string): Promise<TableWriter> {
    return new TableWriter(await open(path, 'wx'));
  }

  private constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  /** Reserves `bytes` bytes of the buffer, which `fill` writes at the offset it is given. */
  append(bytes: number, fill: (to: Buffer, offset: number) => void): void {
    if (this.#filled + bytes > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(2 * this.#buffer.length, this.#filled + bytes));
      this.#buffer.copy(larger, 0, 0, this.#filled);
      this.#buffer = larger;
    }
    fill(this.#buffer, this.#filled);
    this.#filled += bytes;
  }

  async flush(atLeastBytes = BUFFER_BYTES / 2): Promise<void> {
    if (this.#filled < atLeastBytes) return;
    const filled = this.#buffer.subarray(0, this.#filled);
    this.#hash.update(filled);
    await this.#handle.writeFile(filled);
    this.#written += this.#filled;
    this.#filled = 0;
  }

  async finish(): Promise<WrittenFile> {
    await this.flush(1);
    await this.#handle.sync();
    await this.#handle.close();
    return { bytes: this.#written, sha256: this.#hash.digest('hex') };
  }

  async abandon(): Promise<void> {
    await this.#handle.close();
  }
}
