import type { Blob } from '@weft/files';

/** Reads bytes in order, from a blob (where skipping is free) or from a stream. */
export interface ByteCursor {
  /** Bytes read or skipped so far. */
  readonly position: number;
  /** The next `bytes` bytes; fewer only at the end. */
  read(bytes: number): Promise<Uint8Array>;
  /** Skips `bytes` bytes; false when the end comes before. */
  skip(bytes: number): Promise<boolean>;
}

/** Headers of small members are close together: one read fetches several. */
const WINDOW_BYTES = 64 * 1024;

/** A cursor over an open blob. Does not close it. */
export class BlobCursor implements ByteCursor {
  readonly #blob: Blob;
  #position = 0;
  #window = new Uint8Array(0);
  #windowStart = 0;

  constructor(blob: Blob) {
    this.#blob = blob;
  }

  get position(): number {
    return this.#position;
  }

  async read(bytes: number): Promise<Uint8Array> {
    const wanted = Math.min(bytes, this.#blob.bytes - this.#position);
    const inWindow =
      this.#position >= this.#windowStart && this.#position + wanted <= this.#windowStart + this.#window.length;
    if (!inWindow) await this.#fill(Math.max(wanted, Math.min(WINDOW_BYTES, this.#blob.bytes - this.#position)));
    const start = this.#position - this.#windowStart;
    const result = this.#window.slice(start, start + wanted);
    this.#position += result.length;
    return result;
  }

  skip(bytes: number): Promise<boolean> {
    const left = this.#blob.bytes - this.#position;
    this.#position += Math.min(bytes, left);
    return Promise.resolve(bytes <= left);
  }

  async #fill(bytes: number): Promise<void> {
    const window = new Uint8Array(bytes);
    await this.#blob.read(window, this.#position);
    this.#window = window;
    this.#windowStart = this.#position;
  }
}

/** A cursor over a stream. Buffers at most one chunk and the bytes asked for. */
export class StreamCursor implements ByteCursor {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);
  #position = 0;

  constructor(stream: AsyncIterable<Uint8Array>) {
    this.#chunks = stream[Symbol.asyncIterator]();
  }

  get position(): number {
    return this.#position;
  }

  async read(bytes: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    await this.#advance(bytes, (part) => parts.push(part));
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  async skip(bytes: number): Promise<boolean> {
    return (await this.#advance(bytes, () => undefined)) === bytes;
  }

  async #advance(bytes: number, use: (part: Uint8Array) => void): Promise<number> {
    let left = bytes;
    while (left > 0) {
      if (this.#chunk.length === 0) {
        const next = await this.#chunks.next();
        if (next.done === true) break;
        this.#chunk = next.value;
        continue;
      }
      const part = this.#chunk.subarray(0, left);
      this.#chunk = this.#chunk.subarray(part.length);
      left -= part.length;
      use(part);
    }
    this.#position += bytes - left;
    return bytes - left;
  }
}
