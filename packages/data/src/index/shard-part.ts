import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { type ErrorCode, errorCode, isJsonObject, type SourceId, WeftError } from '@weft/common';
import { readExactly } from '@weft/files';
import type { ImageLocation } from '../formats/document.js';
import type { LeftOut } from '../formats/left-out.js';
import type { PackableSegment, Segment } from './packed-sequence.js';
import {
  type EntryBytes,
  IMAGE_RECORD_BYTES,
  readImageRecord,
  readSegmentRecord,
  SEGMENT_RECORD_BYTES,
  writeEntries,
  writeImageRecord,
  writeSegmentRecord,
} from './records.js';

/** A shard as it was when it was read. */
export interface ShardFingerprint {
  readonly bytes: number;
  readonly sha256: string;
  /** See `ShardSamples`. */
  readonly sample: string;
}

/** Where a part file holds what was read of a shard. */
export interface PartLocation {
  /** The number of the part file. */
  readonly file: number;
  readonly offset: number;
  readonly length: number;
  readonly crc32: number;
}

/** What was read of a shard, but for its segments, which are on disk: memory does not grow with the samples. */
export interface ShardPart extends ShardFingerprint, PartLocation {
  readonly source: SourceId;
  /** Path below the folder of the dataset. */
  readonly name: string;
  /** As it was listed before it was read; see `ListedShard`. */
  readonly version: string | null;
  /** How many documents have segments. */
  readonly documents: number;
}

/** What is known of the samples of a shard beside their segments, in the order of the shard. */
export type PartEvent =
  | { readonly kind: 'good'; readonly count: number }
  | { readonly kind: 'bad'; readonly key: string; readonly problem: SentError }
  | { readonly kind: 'leftOut'; readonly what: LeftOut }
  /** Of documents that have segments, in the order of their numbers. */
  | { readonly kind: 'keys'; readonly keys: readonly string[] }
  /** Images beside the documents that a document names. */
  | { readonly kind: 'used'; readonly names: readonly string[] };

/** A WeftError on its way to another process. */
export interface SentError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly hint?: string | undefined;
}

export function sentError(thrown: unknown): SentError {
  const { code, message, hint } = WeftError.from(thrown);
  return { code, message, hint };
}

export function receivedError({ code, message, hint }: SentError): WeftError {
  return new WeftError(errorCode(code), message, hint === undefined ? {} : { hint });
}

/** A segment whose entries are bytes of the table `tokens` already. */
export interface PartSegment extends PackableSegment {
  readonly document: number;
  readonly part: number;
  readonly entries: number;
  readonly tokens: Buffer;
}

/** A chunk is its kind, the number of its bytes, and those. */
const CHUNK_HEADER_BYTES = 5;
const SEGMENTS = 1;
const EVENTS = 2;
/** Segments and events are written when so much of them is waiting. */
const CHUNK_BYTES = 1 << 20;

/** Keys that are written together. */
const KEYS_OF_EVENT = 1024;

const partFile = (folder: string, number: number) => join(folder, `part-${number}.bin`);

/** Writes the parts of shards behind one another into one file. */
export class PartWriter {
  readonly #handle: FileHandle;
  readonly #file: number;
  readonly #entryBytes: EntryBytes;
  #start = 0;
  #written = 0;
  #crc32 = 0;
  #segments = Buffer.allocUnsafe(2 * CHUNK_BYTES);
  #filled = 0;
  #events: string[] = [];
  #eventCharacters = 0;
  #good = 0;
  #keys: string[] = [];

  /** Creates the file, which must not exist. */
  static async create(folder: string, file: number, entryBytes: EntryBytes): Promise<PartWriter> {
    return new PartWriter(await open(partFile(folder, file), 'wx'), file, entryBytes);
  }

  private constructor(handle: FileHandle, file: number, entryBytes: EntryBytes) {
    this.#handle = handle;
    this.#file = file;
    this.#entryBytes = entryBytes;
  }

  addSegment(segment: Segment): void {
    const { document, part, entries, positions, images } = segment;
    const bytes = SEGMENT_RECORD_BYTES + entries.length * this.#entryBytes + images.length * IMAGE_RECORD_BYTES;
    if (this.#filled + bytes > this.#segments.length) {
      const larger = Buffer.allocUnsafe(Math.max(2 * this.#segments.length, this.#filled + bytes));
      this.#segments.copy(larger, 0, 0, this.#filled);
      this.#segments = larger;
    }
    const record = { document, part, entries: entries.length, positions, images: images.length };
    writeSegmentRecord(this.#segments, this.#filled, record);
    let at = this.#filled + SEGMENT_RECORD_BYTES;
    writeEntries(this.#segments, at, segment, this.#entryBytes);
    at += entries.length * this.#entryBytes;
    for (const [i, image] of images.entries()) writeImageRecord(this.#segments, at + i * IMAGE_RECORD_BYTES, image);
    this.#filled += bytes;
  }

  countGood(): void {
    this.#good++;
  }

  /** Adds the key of a document that has segments. */
  addKey(key: string): void {
    this.#keys.push(key);
    if (this.#keys.length === KEYS_OF_EVENT) this.#endKeys();
  }

  addEvent(event: Exclude<PartEvent, { kind: 'good' | 'keys' }>): void {
    // Only where the good ones end does their number matter.
    if (event.kind === 'bad') this.#endGood();
    this.#push(event);
  }

  /** Writes what is waiting, where it is much. */
  async flush(atLeastBytes = CHUNK_BYTES): Promise<void> {
    if (this.#filled >= atLeastBytes) {
      await this.#write(SEGMENTS, this.#segments.subarray(0, this.#filled));
      this.#filled = 0;
    }
    if (this.#eventCharacters >= atLeastBytes) {
      await this.#write(EVENTS, Buffer.from(this.#events.join('')));
      this.#events = [];
      this.#eventCharacters = 0;
    }
  }

  /** Ends the part of a shard. What follows is that of another. */
  async end(): Promise<PartLocation> {
    this.#endGood();
    this.#endKeys();
    await this.flush(1);
    const location = {
      ...{ file: this.#file, offset: this.#start, length: this.#written - this.#start },
      crc32: this.#crc32,
    };
    this.#begin();
    return location;
  }

  /** Forgets what was written of a shard that could not be read. */
  abandon(): void {
    this.#good = 0;
    this.#keys = [];
    this.#filled = 0;
    this.#events = [];
    this.#eventCharacters = 0;
    this.#begin();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  #begin(): void {
    this.#start = this.#written;
    this.#crc32 = 0;
  }

  #endGood(): void {
    if (this.#good > 0) this.#push({ kind: 'good', count: this.#good });
    this.#good = 0;
  }

  #endKeys(): void {
    if (this.#keys.length > 0) this.#push({ kind: 'keys', keys: this.#keys });
    this.#keys = [];
  }

  #push(event: PartEvent): void {
    const line = `${JSON.stringify(event)}\n`;
    this.#events.push(line);
    this.#eventCharacters += line.length;
  }

  async #write(kind: number, content: Buffer): Promise<void> {
    const header = Buffer.allocUnsafe(CHUNK_HEADER_BYTES);
    header.writeUInt8(kind, 0);
    header.writeUInt32LE(content.length, 1);
    for (const bytes of [header, content]) {
      this.#crc32 = crc32(bytes, this.#crc32);
      await this.#handle.writeFile(bytes);
    }
    this.#written += header.length + content.length;
  }
}

/** Reads the parts of shards. At most so many files are open as there were processes. */
export class PartReader {
  readonly #folder: string;
  readonly #entryBytes: EntryBytes;
  readonly #handles = new Map<number, FileHandle>();

  constructor(folder: string, entryBytes: EntryBytes) {
    this.#folder = folder;
    this.#entryBytes = entryBytes;
  }

  /** Segments and events, each in the order of the shard; about a MiB of them is in memory. */
  async *read({ file, offset, length }: PartLocation): AsyncGenerator<PartSegment[] | PartEvent[], void, undefined> {
    const path = partFile(this.#folder, file);
    const handle = await this.#handle(file);
    for (let at = offset; at < offset + length; ) {
      // Most parts are small: one read gets them whole.
      const first = await readExactly(handle, path, at, Math.min(2 * CHUNK_BYTES, offset + length - at));
      const bytes = CHUNK_HEADER_BYTES + first.readUInt32LE(1);
      const chunk = bytes <= first.length ? first : await readExactly(handle, path, at, bytes);
      const content = chunk.subarray(CHUNK_HEADER_BYTES, bytes);
      yield chunk.readUInt8(0) === SEGMENTS ? this.#segments(content) : eventsOf(content);
      at += bytes;
    }
  }

  /** Whether the part is on disk as it was written: a machine that stopped may have lost it. */
  async isIntact({ file, offset, length, crc32: wanted }: PartLocation): Promise<boolean> {
    try {
      const handle = await this.#handle(file);
      let found = 0;
      for (let at = 0; at < length; at += CHUNK_BYTES) {
        const bytes = Math.min(CHUNK_BYTES, length - at);
        found = crc32(await readExactly(handle, partFile(this.#folder, file), offset + at, bytes), found);
      }
      return found === wanted;
    } catch {
      return false;
    }
  }

  async close(): Promise<void> {
    for (const handle of this.#handles.values()) await handle.close();
    this.#handles.clear();
  }

  async #handle(file: number): Promise<FileHandle> {
    const known = this.#handles.get(file) ?? (await open(partFile(this.#folder, file), 'r'));
    this.#handles.set(file, known);
    return known;
  }

  #segments(content: Buffer): PartSegment[] {
    const segments: PartSegment[] = [];
    for (let at = 0; at < content.length; ) {
      const { document, part, entries, positions, images: imageCount } = readSegmentRecord(content, at);
      at += SEGMENT_RECORD_BYTES;
      // A copy, so that a segment that waits for others does not keep the chunk in memory.
      const tokens = Buffer.from(content.subarray(at, at + entries * this.#entryBytes));
      at += tokens.length;
      const images: ImageLocation[] = [];
      for (let i = 0; i < imageCount; i++) images.push(readImageRecord(content, at + i * IMAGE_RECORD_BYTES));
      at += imageCount * IMAGE_RECORD_BYTES;
      segments.push({ document, part, positions, entries, tokens, images });
    }
    return segments;
  }
}

function eventsOf(content: Buffer): PartEvent[] {
  return content
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as PartEvent);
}

/** A line of the journal of an index that is being made. */
export function parsePart(line: string): ShardPart | undefined {
  try {
    const value: unknown = JSON.parse(line);
    // A process that is killed may leave half a line.
    return isJsonObject(value) && typeof value.crc32 === 'number' ? (value as unknown as ShardPart) : undefined;
  } catch {
    return undefined;
  }
}
