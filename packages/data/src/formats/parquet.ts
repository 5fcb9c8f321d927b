import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { type Deferred, deferred, WeftError, withTimeout } from '@weft/common';
import { type Blob, type BlobReader, diskStore } from '@weft/files';
import type { FileMetaData, RowGroup } from 'hyparquet';
import type { SourceRecord } from './json-records.js';

/** The columns of a row group are unpacked as a whole; a larger one is refused before memory is taken. */
const LARGEST_GROUP_BYTES = 1024 * 1024 * 1024;
/** The description of all row groups, at the end of a file. */
const LARGEST_FOOTER_BYTES = 256 * 1024 * 1024;
const COLUMNS_SHOWN = 10;
/** A file with more is damaged as a whole: each may take its time to say so. */
const MOST_DAMAGED_GROUPS = 3;

/**
 * The rows of a Parquet file as objects, one row group in memory at a time.
 *
 * @param columns that are read, of which the file must have one; default: all. One that it lacks is not in the values
 * A row group that is damaged, or has more than 1 GiB, is a record with a problem; the others are read.
 *
 * @throws WeftError `corrupt_data` for a file that is cut off, damaged or no Parquet, that lacks the columns, or has several such row
 * groups
 */
export async function* parquetRecords(
  path: string,
  columns?: readonly string[],
  store: BlobReader = diskStore,
): AsyncGenerator<SourceRecord, void, undefined> {
  const blob = await store.open(path);
  let thread = new ParquetThread(blob, path);
  try {
    await checkFooter(blob, path);
    const metadata = (await thread.ask({ kind: 'metadata' }, 0)) as FileMetaData;
    const wanted = wantedColumns(metadata, columns, path);
    let rowStart = 0;
    let damagedGroups = 0;
    for (const [number, group] of metadata.row_groups.entries()) {
      const rowEnd = rowStart + Number(group.num_rows);
      const where = `row group ${number + 1} of ${path}`;
      try {
        const bytes = checkGroup(group, wanted, where);
        const question = { kind: 'rows', rowStart, rowEnd, columns: wanted } as const;
        const rows = (await thread.ask(question, bytes)) as readonly unknown[];
        for (const [i, value] of rows.entries()) {
          const key = `row ${rowStart + i + 1}`;
          yield { key, where: `${key} of ${path}`, value };
        }
      } catch (thrown) {
        if (!WeftError.is(thrown, 'corrupt_data') || ++damagedGroups > MOST_DAMAGED_GROUPS) throw thrown;
        yield { key: `row group ${number + 1}`, where, value: undefined, problem: thrown };
        // It may have ended with the group, or still be at it.
        await thread.close();
        thread = new ParquetThread(blob, path);
        await thread.ask({ kind: 'metadata' }, 0);
      }
      rowStart = rowEnd;
    }
  } finally {
    await thread.close();
    await blob.close();
  }
}

/** A file ends with the length of its footer and `PAR1`. */
async function checkFooter(blob: Blob, path: string): Promise<void> {
  const end = Buffer.alloc(8);
  if (blob.bytes < 12) throw damaged(path, 'it is too short');
  await blob.read(end, blob.bytes - 8);
  if (end.toString('latin1', 4) !== 'PAR1') throw damaged(path, 'it does not end with PAR1');
  const footerBytes = end.readUInt32LE(0);
  if (footerBytes > Math.min(LARGEST_FOOTER_BYTES, blob.bytes - 8))
    throw damaged(path, `its footer claims ${footerBytes} bytes`);
}

function wantedColumns({ schema }: FileMetaData, columns: readonly string[] | undefined, path: string): string[] {
  const there = topLevelNames(schema);
  if (columns === undefined) return there;
  const found = columns.filter((column) => there.includes(column));
  if (found.length > 0) return found;
  throw noColumn(path, columns, there);
}

/** The error for a table without any of the columns. */
export function noColumn(path: string, columns: readonly string[], there: readonly string[]): WeftError {
  const names = columns.map((column) => JSON.stringify(column)).join(' or ');
  const shown = there.slice(0, COLUMNS_SHOWN).join(', ');
  return new WeftError('corrupt_data', `${path} has no column ${names}; it has ${shown}`, {
    hint: 'set data.datasets.<dataset>.textField to the column of the text',
  });
}

/** The schema is a tree written depth first: every element has its number of children. */
function topLevelNames(schema: FileMetaData['schema']): string[] {
  const names: string[] = [];
  let left = schema[0]?.num_children ?? 0;
  for (let at = 1; at < schema.length && left > 0; left--) {
    names.push(schema[at]!.name);
    for (let open = 1; open > 0 && at < schema.length; at++) open += (schema[at]!.num_children ?? 0) - 1;
  }
  return names;
}

/** @returns the bytes of the wanted columns, unpacked */
function checkGroup({ columns }: RowGroup, wanted: readonly string[], where: string): number {
  const bytes = columns
    .flatMap(({ meta_data: column }) => (column === undefined ? [] : [column]))
    .filter(({ path_in_schema: [name = ''] }) => wanted.includes(name))
    .reduce((sum, column) => sum + Math.max(0, Number(column.total_uncompressed_size)), 0);
  if (bytes <= LARGEST_GROUP_BYTES) return bytes;
  throw new WeftError('corrupt_data', `${where} has ${bytes} bytes, more than the ${LARGEST_GROUP_BYTES} allowed`, {
    hint: 'write the file anew with smaller row groups, such as row_group_size=10000',
  });
}

type Question =
  | { readonly kind: 'metadata' }
  | { readonly kind: 'rows'; readonly rowStart: number; readonly rowEnd: number; readonly columns: readonly string[] };

type FromThread =
  | { readonly kind: 'read'; readonly id: number; readonly start: number; readonly end: number }
  | { readonly kind: 'answer'; readonly value: unknown }
  | { readonly kind: 'failed'; readonly reason: string };

/** A damaged file may claim lengths for which the library would take hours, or all memory. */
const LIMITS = { maxOldGenerationSizeMb: 4096 };
const PATIENCE_MS = 60_000;
const PATIENCE_MS_PER_MIB = 1000;

/** Runs the library in a thread of its own, which is ended when a file takes too long or too much memory. */
class ParquetThread {
  readonly #blob: Blob;
  readonly #path: string;
  readonly #worker: Worker;
  #answer: Deferred<unknown> | undefined;

  constructor(blob: Blob, path: string) {
    this.#blob = blob;
    this.#path = path;
    const require = createRequire(import.meta.url);
    const workerData = {
      library: pathToFileURL(require.resolve('hyparquet')).href,
      compressors: pathToFileURL(require.resolve('hyparquet-compressors')).href,
      byteLength: blob.bytes,
      largestPage: LARGEST_GROUP_BYTES,
    };
    this.#worker = new Worker(THREAD, { eval: true, workerData, resourceLimits: LIMITS, execArgv: [] });
    this.#worker.on('message', (message: FromThread) => {
      if (message.kind === 'read') void this.#answerRead(message);
      else if (message.kind === 'answer') this.#answer?.resolve(message.value);
      else this.#answer?.reject(damaged(path, message.reason));
    });
    // Too little memory, for one.
    this.#worker.on('error', (thrown) => this.#answer?.reject(damaged(path, WeftError.from(thrown).message, thrown)));
  }

  /** @param bytes how much there is to unpack @throws WeftError `corrupt_data` */
  async ask(question: Question, bytes: number): Promise<unknown> {
    const answer = deferred<unknown>();
    // An error that comes when nobody waits any more is that of a file that is read already.
    answer.promise.catch(() => undefined);
    this.#answer = answer;
    this.#worker.postMessage(question);
    return await withTimeout(answer.promise, {
      doing: `reading ${this.#path}`,
      timeoutMs: Math.ceil(PATIENCE_MS + (bytes / 2 ** 20) * PATIENCE_MS_PER_MIB),
      onTimeout: () => damaged(this.#path, 'it takes too long, as a file does that claims lengths it does not have'),
    });
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }

  async #answerRead({ id, start, end }: FromThread & { readonly kind: 'read' }): Promise<void> {
    const { buffer, failure } = await this.#read(start, end).then(
      (read) => ({ buffer: read, failure: undefined }),
      (thrown: unknown) => ({ buffer: new ArrayBuffer(0), failure: WeftError.from(thrown).message }),
    );
    this.#worker.postMessage({ kind: 'bytes', id, buffer, failure }, [buffer]);
  }

  async #read(start: number, end: number): Promise<ArrayBuffer> {
    if (end - start > LARGEST_GROUP_BYTES) throw new Error(`a part of it claims ${end - start} bytes`);
    const bytes = new Uint8Array(end - start);
    await this.#blob.read(bytes, start);
    return bytes.buffer;
  }
}

/** What the thread runs: a text, because sources and compiled files lie in different places. */
const THREAD = `
const { parentPort, workerData } = require('node:worker_threads');
const { library, compressors: packings, byteLength, largestPage } = workerData;
const waiting = new Map();
let reads = 0;
const file = {
  byteLength,
  slice(start, end = byteLength) {
    const reading = new Promise((resolve, reject) => {
      if (!(start >= 0 && start <= end && end <= byteLength)) return reject(new Error('it points beyond its end'));
      waiting.set(++reads, { resolve, reject });
      parentPort.postMessage({ kind: 'read', id: reads, start, end });
    });
    reading.catch(() => undefined);
    return reading;
  },
};
const utf8 = new TextDecoder('utf-8', { fatal: true });
const parsers = { stringFromBytes: (bytes) => bytes && utf8.decode(bytes) };
const loaded = Promise.all([import(library), import(packings)]);
let metadata;
async function answer(question) {
  const [{ parquetMetadataAsync, parquetReadObjects }, { compressors: all }] = await loaded;
  if (question.kind === 'metadata') return (metadata = await parquetMetadataAsync(file));
  const compressors = Object.fromEntries(Object.entries(all).map(([codec, unpack]) => [codec, (input, bytes) => {
    if (!(bytes >= 0 && bytes <= largestPage)) throw new Error('a page of it claims ' + bytes + ' bytes');
    return unpack(input, bytes);
  }]));
  const { rowStart, rowEnd, columns } = question;
  return await parquetReadObjects({ file, metadata, compressors, parsers, rowStart, rowEnd, columns });
}
const failed = (thrown) => parentPort.postMessage({ kind: 'failed', reason: String(thrown?.message ?? thrown) });
process.on('unhandledRejection', failed);
parentPort.on('message', (message) => {
  if (message.kind !== 'bytes') {
    answer(message).then((value) => parentPort.postMessage({ kind: 'answer', value })).catch(failed);
    return;
  }
  const { resolve, reject } = waiting.get(message.id);
  waiting.delete(message.id);
  if (message.failure === undefined) resolve(message.buffer);
  else reject(new Error(message.failure));
});
`;

function damaged(path: string, reason: string, cause?: unknown): WeftError {
  return new WeftError('corrupt_data', `${path} is no Parquet file that can be read: ${reason}`, {
    hint: 'replace the file with an intact copy, or remove it',
    cause,
  });
}
