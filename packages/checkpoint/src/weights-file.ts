import { basename } from 'node:path';
import { WeftError } from '@weft/common';
import type { CheckpointFile } from '@weft/contracts';
import { type Blob, type BlobStore, diskStore } from '@weft/files';
import { bytesOf, fileHeader, readIndex, type SafetensorsIndex, writeSafetensors } from './safetensors-file.js';
import type { TensorEntry, TensorHeader } from './safetensors-header.js';

// Files of weights that need not fit into memory: written tensor by tensor, and read in pieces of one tensor.

/** Elements that are converted at a time. */
const PIECE_ELEMENTS = 2 ** 20;

/** A tensor that is made when its turn to be written has come. */
export interface StreamedTensor extends TensorHeader {
  /** Its values in row-major order, in pieces of any length. */
  readonly values: () => AsyncIterable<Float32Array> | Iterable<Float32Array>;
}

/**
 * Writes a safetensors file whose tensors are made one by one, so that it takes no memory beyond one piece of them.
 *
 * @throws `invalid_argument` for a tensor with more or fewer values than its shape says; what `values` throws.
 */
export async function writeWeightsFile(
  path: string,
  tensors: readonly StreamedTensor[],
  store: BlobStore = diskStore,
): Promise<CheckpointFile> {
  return { name: basename(path), ...(await writeSafetensors(store, path, encodeTensors(tensors))) };
}

/** A safetensors file in pieces. @throws `invalid_argument` for a tensor with more or fewer values than its shape says */
export async function* encodeTensors(tensors: readonly StreamedTensor[]): AsyncGenerator<Uint8Array> {
  yield fileHeader(tensors);
  for (const { name, shape, dtype = 'F32', values } of tensors) {
    let count = 0;
    for await (const piece of values()) {
      count += piece.length;
      yield dtype === 'F32' ? bytesOf(piece) : toBfloat16(piece);
    }
    const expected = shape.reduce((product, size) => product * size, 1);
    if (count !== expected)
      throw new WeftError('invalid_argument', `tensor "${name}" has ${count} values instead of ${expected}`);
  }
}

/** A safetensors file of any writer, open for reading. */
export class WeightsFile {
  readonly path: string;
  readonly #blob: Blob;
  readonly #index: SafetensorsIndex;

  /** @throws `not_found` for a missing file, `corrupt_data` saying what is wrong with its header. */
  static async open(path: string, store: BlobStore = diskStore): Promise<WeightsFile> {
    const blob = await store.open(path);
    try {
      return new WeightsFile(path, blob, await readIndex(blob, path));
    } catch (thrown) {
      await blob.close();
      throw thrown;
    }
  }

  private constructor(path: string, blob: Blob, index: SafetensorsIndex) {
    this.path = path;
    this.#blob = blob;
    this.#index = index;
  }

  get tensors(): readonly TensorEntry[] {
    return this.#index.tensors;
  }

  /**
   * Elements of a tensor as float32, whatever of F64, F32, F16 and BF16 they are stored as, in pieces.
   *
   * @param first element, row-major
   * @param count elements
   * @throws `corrupt_data` for integers and other element types
   */
  async *read({ name, dtype, begin }: TensorEntry, first: number, count: number): AsyncGenerator<Float32Array> {
    const format = FORMATS[dtype];
    if (format === undefined)
      throw new WeftError('corrupt_data', `tensor "${name}" in ${this.path} is ${dtype}, which no weight may be`, {
        hint: `convert it to ${Object.keys(FORMATS).join(', ')}`,
      });
    for (let at = 0; at < count; at += PIECE_ELEMENTS) {
      const length = Math.min(PIECE_ELEMENTS, count - at);
      const stored = new Uint8Array(length * format.bytes);
      await this.#blob.read(stored, this.#index.dataStart + begin + (first + at) * format.bytes);
      yield format.decode(stored.buffer);
    }
  }

  close(): Promise<void> {
    return this.#blob.close();
  }
}

interface Format {
  readonly bytes: number;
  readonly decode: (stored: ArrayBuffer) => Float32Array;
}

const FORMATS: Readonly<Record<string, Format>> = {
  F64: { bytes: 8, decode: (stored) => Float32Array.from(new Float64Array(stored)) },
  F32: { bytes: 4, decode: (stored) => new Float32Array(stored) },
  BF16: { bytes: 2, decode: fromBfloat16 },
  F16: { bytes: 2, decode: (stored) => Float32Array.from(new Uint16Array(stored), fromHalf) },
};

/** BF16 is the upper half of a float32. */
function fromBfloat16(stored: ArrayBuffer): Float32Array {
  const halves = new Uint16Array(stored);
  const bits = new Uint32Array(halves.length);
  for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  return new Float32Array(bits.buffer);
}

/** Rounds to the nearest, halves to even; what is not a number stays so. */
function toBfloat16(values: Float32Array): Uint8Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = new Uint16Array(values.length);
  for (let i = 0; i < values.length; i++) {
    const word = bits[i]!;
    halves[i] = Number.isNaN(values[i]!) ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  return new Uint8Array(halves.buffer);
}

/** IEEE 754 half precision: a sign, 5 bits of exponent, 10 of the fraction. */
function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}
