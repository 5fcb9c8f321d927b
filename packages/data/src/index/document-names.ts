import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { SourceId } from '@weft/common';
import { isMissing, readExactly } from '@weft/files';
import { TableWriter } from './table-writer.js';

/** Where a document was read from. */
export interface DocumentName {
  /** The number of its shard among those of its source. */
  readonly shard: number;
  /** Names it there: the key of its sample, or `line 3`; empty where the shard is the document. */
  readonly key: string;
}

/** Of a document: its shard, and where its key lies in the file of keys. */
const RECORD_BYTES = 12;
const LONGEST_KEY_BYTES = 0xffff;

/** The files of what one version of an index adds to a source. They are no part of the identity of the dataset. */
export function documentFiles(source: SourceId, version: number): readonly [documents: string, keys: string] {
  const name = version === 1 ? source : `${source}.${version}`;
  return [`${name}.documents.bin`, `${name}.keys.bin`];
}

/** Writes which shard and key each document of a source has, in the order of their numbers. */
export class DocumentNamesWriter {
  readonly #records: TableWriter;
  readonly #keys: TableWriter;
  #keyBytes = 0;

  static async create(folder: string, source: SourceId, version: number): Promise<DocumentNamesWriter> {
    const [documents, keys] = documentFiles(source, version);
    const records = await TableWriter.create(join(folder, documents));
    return new DocumentNamesWriter(records, await TableWriter.create(join(folder, keys)));
  }

  private constructor(records: TableWriter, keys: TableWriter) {
    this.#records = records;
    this.#keys = keys;
  }

  add({ shard, key }: DocumentName): void {
    const bytes = Buffer.from(key).subarray(0, LONGEST_KEY_BYTES);
    this.#records.append(RECORD_BYTES, (to, at) => {
      to.writeUInt32LE(shard, at);
      to.writeUIntLE(this.#keyBytes, at + 4, 6);
      to.writeUInt16LE(bytes.length, at + 10);
    });
    this.#keys.append(bytes.length, (to, at) => bytes.copy(to, at));
    this.#keyBytes += bytes.length;
  }

  async flush(): Promise<void> {
    await this.#records.flush();
    await this.#keys.flush();
  }

  async finish(): Promise<void> {
    await this.#records.finish();
    await this.#keys.finish();
  }

  async abandon(): Promise<void> {
    await this.#records.abandon();
    await this.#keys.abandon();
  }
}

/** Reads where a document was read from; undefined where an older version made the index. */
export async function readDocumentName(
  folder: string,
  source: SourceId,
  { version, number }: { readonly version: number; readonly number: number },
): Promise<DocumentName | undefined> {
  const [documents, keys] = documentFiles(source, version).map((name) => join(folder, name));
  const opened: FileHandle[] = [];
  try {
    for (const path of [documents!, keys!]) opened.push(await open(path, 'r'));
    const record = await readExactly(opened[0]!, documents!, number * RECORD_BYTES, RECORD_BYTES);
    const key = await readExactly(opened[1]!, keys!, record.readUIntLE(4, 6), record.readUInt16LE(10));
    return { shard: record.readUInt32LE(0), key: key.toString() };
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  } finally {
    for (const handle of opened) await handle.close();
  }
}
