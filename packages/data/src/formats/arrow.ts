import { WeftError } from '@weft/common';
import { type Blob, type BlobReader, blobChunks, diskStore } from '@weft/files';
import type { RecordBatch } from 'apache-arrow';
import type { SourceRecord } from './json-records.js';
import { noColumn } from './parquet.js';

/** A record batch is in memory as a whole; of a file that is no stream all of it is. */
const LARGEST_BATCH_BYTES = 1024 * 1024 * 1024;
const CHUNK_BYTES = 1 << 20;
/** With these a file begins and ends; a stream has neither. */
const MAGIC = 'ARROW1';
/** With these a stream ends: a message of no length. */
const END_OF_STREAM = Buffer.from('ffffffff00000000', 'hex');

/**
 * The rows of an Arrow stream (what `save_to_disk` of Hugging Face's `datasets` writes) or file (Feather) as objects, one record
 * batch in memory at a time, of a file all of it.
 *
 * @param columns that are read, of which there must be one; default: all. One that is not there is not in the values
 * @throws WeftError `corrupt_data` for what is cut off, damaged, compressed or no Arrow, that lacks the columns, or has a record batch of
 * more than 1 GiB
 */
export async function* arrowRecords(
  path: string,
  columns?: readonly string[],
  store: BlobReader = diskStore,
): AsyncGenerator<SourceRecord, void, undefined> {
  const blob = await store.open(path);
  try {
    const start = await part(blob, 0, MAGIC.length);
    const isFile = start.toString('latin1') === MAGIC;
    const isWhole = isFile
      ? (await part(blob, blob.bytes - MAGIC.length, MAGIC.length)).toString('latin1') === MAGIC
      : true;
    if (!isWhole) throw damaged(path, 'it is cut off');
    let row = 0;
    for await (const batch of batches(blob, path)) {
      const wanted = wantedColumns(batch, columns, path);
      for (let i = 0; i < batch.numRows; i++) {
        const key = `row ${++row}`;
        yield { key, where: `${key} of ${path}`, value: rowOf(batch, wanted, i, path) };
      }
    }
    const end = await part(blob, blob.bytes - END_OF_STREAM.length, END_OF_STREAM.length);
    if (!isFile && !end.equals(END_OF_STREAM)) throw damaged(path, 'it is cut off');
  } finally {
    await blob.close();
  }
}

async function part(blob: Blob, position: number, bytes: number): Promise<Buffer> {
  const content = Buffer.alloc(bytes);
  if (position >= 0 && position + bytes <= blob.bytes) await blob.read(content, position);
  return content;
}

async function* batches(blob: Blob, path: string): AsyncGenerator<RecordBatch, void, undefined> {
  // What was read since the last batch: the library believes any length that a message claims.
  let unread = 0;
  const chunks = async function* () {
    for await (const chunk of blobChunks(blob, CHUNK_BYTES)) {
      unread += chunk.length;
      if (unread > LARGEST_BATCH_BYTES)
        throw new WeftError('corrupt_data', `a record batch of ${path} has more than ${LARGEST_BATCH_BYTES} bytes`, {
          hint: 'write the data anew with smaller record batches, or as .parquet',
        });
      yield chunk;
    }
  };
  try {
    const { RecordBatchReader } = await import('apache-arrow');
    const reader = await RecordBatchReader.from(chunks());
    await reader.open();
    for await (const batch of reader) {
      // A row takes a bit at least; more rows than that would be counted for hours.
      if (batch.numRows > 8 * (unread + CHUNK_BYTES))
        throw damaged(path, `a record batch claims ${batch.numRows} rows`);
      yield batch;
      unread = 0;
    }
  } catch (thrown) {
    throw WeftError.is(thrown) ? thrown : damaged(path, WeftError.from(thrown).message, thrown);
  }
}

function wantedColumns(
  { schema }: RecordBatch,
  columns: readonly string[] | undefined,
  path: string,
): readonly string[] {
  const there = schema.fields.map(({ name }) => String(name));
  const wanted = columns === undefined ? there : columns.filter((column) => there.includes(column));
  if (wanted.length === 0 && columns !== undefined) throw noColumn(path, columns, there);
  return wanted;
}

function rowOf(batch: RecordBatch, columns: readonly string[], row: number, path: string): Record<string, unknown> {
  try {
    return Object.fromEntries(columns.map((name) => [name, plain(batch.getChild(name)?.get(row))]));
  } catch (thrown) {
    throw damaged(path, WeftError.from(thrown).message, thrown);
  }
}

/** A value as JSON has it: lists and structures of plain values. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint') return Number(value);
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  if (Symbol.iterator in value && 'get' in value && 'length' in value)
    return Array.from(value as Iterable<unknown>, plain);
  const fields = 'toJSON' in value && typeof value.toJSON === 'function' ? (value.toJSON() as object) : value;
  return Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, plain(field)]));
}

function damaged(path: string, reason: string, cause?: unknown): WeftError {
  return new WeftError('corrupt_data', `${path} is no Arrow stream or file that can be read: ${reason}`, {
    hint: 'replace the file with an intact copy, or write it anew without compression or as .parquet',
    cause,
  });
}
