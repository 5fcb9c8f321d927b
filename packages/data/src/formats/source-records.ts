import type { BlobReader } from '@weft/files';
import { jsonRecords, type SourceRecord } from './json-records.js';
import { parquetRecords } from './parquet.js';

/**
 * The values of a file, by its name: rows of Parquet, else JSON.
 *
 * @param columns of a table that are read; default: all
 * @throws WeftError `corrupt_data` naming the file for one that cannot be read
 */
export function sourceRecords(
  path: string,
  columns?: readonly string[],
  store?: BlobReader,
): AsyncGenerator<SourceRecord, void, undefined> {
  return /\.parquet$/i.test(path) ? parquetRecords(path, columns, store) : jsonRecords(path, store);
}
