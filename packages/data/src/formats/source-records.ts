import type { BlobReader } from '@weft/files';
import { arrowRecords } from './arrow.js';
import { jsonRecords, type SourceRecord } from './json-records.js';
import { parquetRecords } from './parquet.js';

/**
 * The values of a file, by its name: rows of Parquet and Arrow, else JSON.
 *
 * @param columns of a table that are read; default: all
 * @throws WeftError `corrupt_data` naming the file for one that cannot be read
 */
export function sourceRecords(
  path: string,
  columns?: readonly string[],
  store?: BlobReader,
): AsyncGenerator<SourceRecord, void, undefined> {
  if (/\.parquet$/i.test(path)) return parquetRecords(path, columns, store);
  return /\.arrow$/i.test(path) ? arrowRecords(path, columns, store) : jsonRecords(path, store);
}
