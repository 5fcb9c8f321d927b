import { isJsonObject, WeftError } from '@weft/common';
import { type BlobReader, diskStore } from '@weft/files';
import { type BadSample, cutBefore, type DocumentPart, type SourceDocument, textParts } from './document.js';
import { CHUNK_BYTES, chunksOf, PACKED, type SourceRecord } from './json-records.js';
import { sourceRecords } from './source-records.js';

/** Fields that a message names. */
const FIELDS_SHOWN = 10;

/**
 * The documents of a text shard, by its name in any case, with or without `.gz` or `.zst` behind: of `.txt` all of it; else
 * the field of every row, line, or element of a list.
 *
 * @param field that holds the text
 * @throws WeftError `corrupt_data` naming the file for bytes that are not UTF-8 and for what cannot be unpacked
 */
export async function* textDocuments(
  path: string,
  field = 'text',
  store: BlobReader = diskStore,
): AsyncGenerator<SourceDocument | BadSample, void, undefined> {
  if (path.toLowerCase().replace(PACKED, '').endsWith('.txt')) yield { key: '', parts: wholeFile(path, store) };
  else for await (const record of sourceRecords(path, [field], store)) yield textDocument(record, field);
}

/** Split where `cutBefore` says; the rest of a chunk is joined with the next one. */
async function* wholeFile(path: string, store: BlobReader): AsyncGenerator<DocumentPart, void, undefined> {
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let waiting = '';
  let chunkStart = 0;
  let position = 0;
  const decode = (chunk?: Buffer) => {
    try {
      return chunk === undefined ? decoder.decode() : decoder.decode(chunk, { stream: true });
    } catch {
      throw new WeftError('corrupt_data', `${path} is not UTF-8 text (near byte ${chunkStart})`);
    }
  };
  for await (const chunk of chunksOf(path, store)) {
    chunkStart = position;
    position += chunk.length;
    waiting += decode(chunk);
    if (waiting.length < CHUNK_BYTES) continue;
    const ready = cutBefore(waiting);
    yield* textParts(waiting.slice(0, ready));
    waiting = waiting.slice(ready);
  }
  yield* textParts(waiting + decode());
}

function textDocument({ key, where, value, problem }: SourceRecord, field: string): SourceDocument | BadSample {
  if (problem !== undefined) return { key, problem };
  const fields = isJsonObject(value) ? value : {};
  const text = Object.hasOwn(fields, field) ? fields[field] : undefined;
  if (typeof text === 'string') return { key, parts: textParts(text) };
  const names = Object.keys(fields).slice(0, FIELDS_SHOWN);
  const there = names.length === 0 ? '' : `; it has ${names.join(', ')}`;
  const hint = `give every document its text in ${JSON.stringify(field)}, or name another field: data.datasets.<dataset>.textField=${names[0] ?? 'content'}`;
  return {
    key,
    problem: new WeftError('corrupt_data', `${where} has no field "${field}" that is a string${there}`, { hint }),
  };
}
