import { createHash } from 'node:crypto';
import { WEFT_VERSION, WeftError } from '@weft/common';
import type { Blob, BlobStore } from '@weft/files';
import {
  encodeHeader,
  headerLength,
  LENGTH_BYTES,
  parseHeader,
  type TensorEntry,
  type TensorHeader,
} from './safetensors-header.js';

/** A float32 tensor with its values in row-major order. */
export interface NamedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Hashes and writes work on chunks of this size, so that neither blocks the event loop for long. */
const CHUNK_BYTES = 4 * 2 ** 20;

/** The first bytes of a file with these tensors. */
export function fileHeader(tensors: readonly TensorHeader[]): Uint8Array {
  // Some readers refuse files whose metadata does not name the framework; this one stands for plain row-major values.
  return encodeHeader(tensors, { format: 'pt', writer: `weft ${WEFT_VERSION}` });
}

/** Writes a file, hashing on the way; takes no memory beyond a part. Returns its SHA-256 in hexadecimal. */
export async function writeSafetensors(
  store: BlobStore,
  path: string,
  parts: AsyncIterable<Uint8Array>,
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  let bytes = 0;
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for await (const part of parts)
      for (let first = 0; first < part.length; first += CHUNK_BYTES) {
        const chunk = part.subarray(first, first + CHUNK_BYTES);
        hash.update(chunk);
        bytes += chunk.length;
        yield chunk;
      }
  };
  await store.write(path, chunks());
  return { bytes, sha256: hash.digest('hex') };
}

/** A header, and where the data after it starts. */
export interface SafetensorsIndex {
  readonly tensors: readonly TensorEntry[];
  readonly dataStart: number;
}

/** Reads and checks the header of a file. Throws `corrupt_data` saying what is wrong. */
export async function readIndex(blob: Blob, where: string): Promise<SafetensorsIndex> {
  if (blob.bytes < LENGTH_BYTES)
    throw new WeftError('corrupt_data', `${where} is corrupt: ${blob.bytes} bytes are too few for a safetensors file`);
  const prefix = new Uint8Array(LENGTH_BYTES);
  await blob.read(prefix, 0);
  const length = headerLength(prefix, blob.bytes, where);
  const header = new Uint8Array(length);
  await blob.read(header, LENGTH_BYTES);
  const dataStart = LENGTH_BYTES + length;
  return { tensors: parseHeader(header, blob.bytes - dataStart, where), dataStart };
}

/**
 * Reads values of a tensor.
 * @param first the first of them, row-major
 * @param target is filled
 * @throws `corrupt_data` unless it is float32.
 */
export async function readValues(
  blob: Blob,
  { dataStart }: SafetensorsIndex,
  { name, dtype, begin }: TensorEntry,
  first: number,
  target: Float32Array,
  where: string,
): Promise<void> {
  if (dtype !== 'F32')
    throw new WeftError('corrupt_data', `tensor "${name}" in ${where} is ${dtype}, and Weft writes F32 only`);
  await blob.read(bytesOf(target), dataStart + begin + 4 * first);
}

/** The SHA-256 of a whole blob in hexadecimal. */
export async function sha256Of(blob: Blob): Promise<string> {
  const hash = createHash('sha256');
  const buffer = new Uint8Array(Math.min(CHUNK_BYTES, blob.bytes));
  for (let position = 0; position < blob.bytes; position += CHUNK_BYTES) {
    const chunk = buffer.subarray(0, Math.min(CHUNK_BYTES, blob.bytes - position));
    await blob.read(chunk, position);
    hash.update(chunk);
  }
  return hash.digest('hex');
}

/** The memory of an array as bytes. */
export function bytesOf(data: Float32Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}
