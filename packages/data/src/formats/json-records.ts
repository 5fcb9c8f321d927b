import { pipeline, Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { WeftError } from '@weft/common';
import { type BlobReader, blobChunks, diskStore } from '@weft/files';
import { parseJson } from './parse-json.js';
import { unpackZstd } from './zstd.js';

/** A file with a longer line is not taken for JSON lines. */
const LONGEST_LINE_BYTES = 64 * 1024 * 1024;
export const CHUNK_BYTES = 1 << 20;
/** A list is parsed as a whole. */
const LARGEST_LIST_BYTES = 256 * 1024 * 1024;

/** One value of a file, or why it is none. */
export interface SourceRecord {
  /** Names it in its file: `line 3`. */
  readonly key: string;
  /** `line 3 of <path>`, for messages. */
  readonly where: string;
  readonly value: unknown;
  /** What is wrong with it; the value is undefined then. */
  readonly problem?: WeftError;
}

/** What a file may be packed with: the names end so. */
export const PACKED = /\.(gz|zst)$/i;

/**
 * The values of a file of JSON: every line of JSON lines, every element of a `.json` file that holds a list; with or without
 * `.gz` or `.zst` behind.
 *
 * @throws WeftError `corrupt_data` for a file that cannot be unpacked and a list that is no JSON
 */
export async function* jsonRecords(
  path: string,
  store: BlobReader = diskStore,
): AsyncGenerator<SourceRecord, void, undefined> {
  const isJson = path.toLowerCase().replace(PACKED, '').endsWith('.json');
  if (isJson && (await beginsList(path, store))) yield* jsonList(path, store);
  else yield* jsonLines(path, store);
}

async function* jsonLines(path: string, store: BlobReader): AsyncGenerator<SourceRecord, void, undefined> {
  let number = 0;
  for await (const line of lines(path, store)) {
    number++;
    if (line.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09)) continue;
    const key = `line ${number}`;
    const where = `${key} of ${path}`;
    yield { key, where, ...parsed(line, where) };
  }
}

function parsed(line: Buffer, where: string): Pick<SourceRecord, 'value' | 'problem'> {
  try {
    return { value: jsonOf(line, where) };
  } catch (thrown) {
    return { value: undefined, problem: WeftError.from(thrown) };
  }
}

/** Whether the first character that is no space is the bracket of a list. */
async function beginsList(path: string, store: BlobReader): Promise<boolean> {
  for await (const chunk of chunksOf(path, store)) {
    const [first] = chunk
      .toString('latin1')
      .replace(/^\xef\xbb\xbf/, '')
      .trimStart();
    if (first !== undefined) return first === '[';
  }
  return false;
}

async function* jsonList(path: string, store: BlobReader): AsyncGenerator<SourceRecord, void, undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(path, store)) {
    bytes += chunk.length;
    if (bytes > LARGEST_LIST_BYTES)
      throw new WeftError('corrupt_data', `${path} is one list of more than ${LARGEST_LIST_BYTES} bytes`, {
        hint: 'write one JSON object per line, which is read without holding the file in memory',
      });
    chunks.push(chunk);
  }
  const list = jsonOf(Buffer.concat(chunks), path);
  if (!Array.isArray(list)) throw new WeftError('corrupt_data', `${path} is not a JSON list`);
  for (const [i, value] of list.entries())
    yield { key: `element ${i + 1}`, where: `element ${i + 1} of ${path}`, value };
}

function jsonOf(content: Buffer, where: string): unknown {
  try {
    return parseJson(new TextDecoder('utf-8', { fatal: true }).decode(content));
  } catch (thrown) {
    throw new WeftError('corrupt_data', `${where} is not JSON: ${WeftError.from(thrown).message}`);
  }
}

async function* lines(path: string, store: BlobReader): AsyncGenerator<Buffer, void, undefined> {
  let parts: Buffer[] = [];
  let waitingBytes = 0;
  for await (const chunk of chunksOf(path, store)) {
    let rest = chunk;
    for (let end = rest.indexOf(0x0a); end !== -1; end = rest.indexOf(0x0a)) {
      yield Buffer.concat([...parts, rest.subarray(0, end)]);
      parts = [];
      waitingBytes = 0;
      rest = rest.subarray(end + 1);
    }
    parts.push(rest);
    waitingBytes += rest.length;
    if (waitingBytes > LONGEST_LINE_BYTES)
      throw new WeftError('corrupt_data', `${path} has a line of more than ${LONGEST_LINE_BYTES} bytes`, {
        hint: 'write one JSON object per line',
      });
  }
  if (waitingBytes > 0) yield Buffer.concat(parts);
}

/** The content of a file in pieces, unpacked where its name ends in `.gz` or `.zst`. @throws WeftError `corrupt_data` */
export async function* chunksOf(path: string, store: BlobReader): AsyncGenerator<Buffer, void, undefined> {
  const blob = await store.open(path);
  try {
    const chunks = blobChunks(blob, CHUNK_BYTES);
    if (/\.gz$/i.test(path)) yield* unzipped(chunks, path);
    else if (/\.zst$/i.test(path)) yield* unpackZstd(chunks, path);
    else yield* chunks;
  } finally {
    await blob.close();
  }
}

async function* unzipped(chunks: AsyncIterable<Buffer>, path: string): AsyncGenerator<Buffer, void, undefined> {
  const zipped = Readable.from(chunks);
  const plain = createGunzip({ chunkSize: CHUNK_BYTES });
  // The loop below throws what goes wrong in either stream.
  pipeline(zipped, plain, () => undefined);
  try {
    for await (const chunk of plain as AsyncIterable<Buffer>) yield chunk;
  } catch (thrown) {
    if (WeftError.is(thrown)) throw thrown;
    const reason = WeftError.from(thrown).message;
    throw new WeftError('corrupt_data', `${path} cannot be unpacked with gunzip: ${reason}`, {
      hint: 'replace the file with an intact copy, or remove it',
      cause: thrown,
    });
  }
}
