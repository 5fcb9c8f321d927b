import { basename } from 'node:path';
import { WeftError } from '@weft/common';
import { type BlobStore, blobChunks, diskStore } from '@weft/files';
import { type DocumentPart, type SourceDocument, textParts } from './document.js';

/** A file with a longer line is not taken for JSON lines. */
const LONGEST_LINE_BYTES = 64 * 1024 * 1024;
const CHUNK_BYTES = 1 << 20;

/**
 * The documents of a text shard: of a `.jsonl` file the field `text` of every line, of a `.txt` file all of it.
 *
 * @throws WeftError `corrupt_data` naming file and line for bytes that are not UTF-8, lines that are not JSON or lack `text`.
 */
export async function* textDocuments(
  path: string,
  store: BlobStore = diskStore,
): AsyncGenerator<SourceDocument, void, undefined> {
  if (path.endsWith('.txt')) yield { name: basename(path), parts: wholeFile(path, store) };
  else yield* jsonLines(path, store);
}

/** Split after the last line end of each chunk; the rest is joined with the next chunk. */
async function* wholeFile(path: string, store: BlobStore): AsyncGenerator<DocumentPart, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let waiting = '';
  let chunkNumber = 0;
  const decode = (chunk?: Buffer) => {
    try {
      return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch {
      const first = Math.max(0, chunkNumber - 1) * CHUNK_BYTES;
      throw new WeftError('corrupt_data', `${path} is not UTF-8 text (near byte ${first})`);
    }
  };
  for await (const chunk of chunksOf(path, store)) {
    chunkNumber++;
    waiting += decode(chunk);
    const end = waiting.lastIndexOf('\n') + 1;
    if (end > 0 || waiting.length > CHUNK_BYTES) {
      const ready = end > 0 ? end : waiting.length;
      yield* textParts(waiting.slice(0, ready));
      waiting = waiting.slice(ready);
    }
  }
  yield* textParts(waiting + decode());
}

async function* jsonLines(path: string, store: BlobStore): AsyncGenerator<SourceDocument, void, undefined> {
  let number = 0;
  for await (const line of lines(path, store)) {
    number++;
    if (line.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09)) continue;
    yield { name: `${basename(path)} line ${number}`, parts: textParts(textOfLine(line, path, number)) };
  }
}

function textOfLine(line: Buffer, path: string, number: number): string {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line));
  } catch (thrown) {
    throw new WeftError('corrupt_data', `line ${number} of ${path} is not JSON: ${WeftError.from(thrown).message}`);
  }
  const text: unknown = typeof value === 'object' && value !== null && 'text' in value ? value.text : undefined;
  if (typeof text !== 'string')
    throw new WeftError('corrupt_data', `line ${number} of ${path} has no field "text" that is a string`);
  return text;
}

async function* lines(path: string, store: BlobStore): AsyncGenerator<Buffer, void, undefined> {
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

async function* chunksOf(path: string, store: BlobStore): AsyncGenerator<Buffer, void, undefined> {
  const blob = await store.open(path);
  try {
    yield* blobChunks(blob, CHUNK_BYTES);
  } finally {
    await blob.close();
  }
}
