import { deferred } from '@weft/common';
import type { ByteSink } from '../duplex.js';

/** Collects a given number of bytes, in reads of at most `maxReadBytes`. */
export class CollectingSink implements ByteSink {
  readonly bytes: Uint8Array;
  /** Resolves when all bytes have arrived. */
  readonly full: Promise<void>;
  filled = 0;
  readonly #finish: () => void;
  readonly #maxReadBytes: number;

  constructor(length: number, maxReadBytes: number) {
    this.bytes = new Uint8Array(length);
    this.#maxReadBytes = maxReadBytes;
    ({ promise: this.full, resolve: this.#finish } = deferred());
  }

  target(): Uint8Array | undefined {
    if (this.filled === this.bytes.length) return undefined;
    return this.bytes.subarray(this.filled, this.filled + this.#maxReadBytes);
  }

  onBytes(count: number): void {
    this.filled += count;
    if (this.filled === this.bytes.length) this.#finish();
  }
}
