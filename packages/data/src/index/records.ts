import type { ImageLocation } from '../formats/document.js';
import { IMAGE_ENTRY, type Segment } from './packed-sequence.js';

/** Bytes per entry of the table `tokens`. */
export type EntryBytes = 2 | 4;

/**
 * The tables of an index: one file per table and source, little-endian, records of fixed size, so that record n starts
 * at n · size. Counts of bytes and rows have 48 bits.
 *
 * - `sequences`: where the segments, entries and images of a sequence start in the other tables, and how many it has.
 * - `segments`: the segments of the sequences in order, each with its number of entries, positions and images.
 * - `images`: shard, offset, bytes and view of each image, in the order of their entries.
 * - `tokens`: 2 or 4 bytes per entry: a token id, or the largest number for an image. The highest bit is set where a
 *   conversation has a token that is no answer; a vocabulary that needs the bit for its ids gets 4 bytes if there are any.
 */
export const TABLES = ['sequences', 'segments', 'images', 'tokens'] as const;
/** The name of a table. */
export type Table = (typeof TABLES)[number];

/** Bytes of one record of `sequences`. */
export const SEQUENCE_RECORD_BYTES = 32;
/** Bytes of one record of `segments`. */
export const SEGMENT_RECORD_BYTES = 24;
/** Bytes of one record of `images`. */
export const IMAGE_RECORD_BYTES = 16;

/** A record of the table `sequences`. */
export interface SequenceRecord {
  readonly firstSegment: number;
  readonly segments: number;
  readonly firstEntry: number;
  readonly entries: number;
  readonly firstImage: number;
  readonly images: number;
  /** Used positions; the rest of the sequence is padding. */
  readonly positions: number;
}

/** A record of the table `segments`. */
export interface SegmentRecord {
  readonly document: number;
  readonly part: number;
  readonly entries: number;
  readonly positions: number;
  readonly images: number;
}

/** Writes a record of the table `sequences` at byte `offset`. */
export function writeSequenceRecord(to: Buffer, offset: number, record: SequenceRecord): void {
  to.writeUIntLE(record.firstSegment, offset, 6);
  to.writeUIntLE(record.firstEntry, offset + 6, 6);
  to.writeUIntLE(record.firstImage, offset + 12, 6);
  to.writeUInt16LE(record.images, offset + 18);
  to.writeUInt32LE(record.segments, offset + 20);
  to.writeUInt32LE(record.entries, offset + 24);
  to.writeUInt32LE(record.positions, offset + 28);
}

/** Reads the record of the table `sequences` at byte `offset`. */
export function readSequenceRecord(from: Buffer, offset: number): SequenceRecord {
  return {
    firstSegment: from.readUIntLE(offset, 6),
    firstEntry: from.readUIntLE(offset + 6, 6),
    firstImage: from.readUIntLE(offset + 12, 6),
    images: from.readUInt16LE(offset + 18),
    segments: from.readUInt32LE(offset + 20),
    entries: from.readUInt32LE(offset + 24),
    positions: from.readUInt32LE(offset + 28),
  };
}

/** Writes a record of the table `segments` at byte `offset`. */
export function writeSegmentRecord(to: Buffer, offset: number, record: SegmentRecord): void {
  to.writeUIntLE(record.document, offset, 6);
  to.writeUInt16LE(record.images, offset + 6);
  to.writeUInt32LE(record.part, offset + 8);
  to.writeUInt32LE(record.entries, offset + 12);
  to.writeUInt32LE(record.positions, offset + 16);
  to.writeUInt32LE(0, offset + 20);
}

/** Reads the record of the table `segments` at byte `offset`. */
export function readSegmentRecord(from: Buffer, offset: number): SegmentRecord {
  return {
    document: from.readUIntLE(offset, 6),
    images: from.readUInt16LE(offset + 6),
    part: from.readUInt32LE(offset + 8),
    entries: from.readUInt32LE(offset + 12),
    positions: from.readUInt32LE(offset + 16),
  };
}

/** Writes a record of the table `images` at byte `offset`. */
export function writeImageRecord(to: Buffer, offset: number, image: ImageLocation): void {
  to.writeUInt32LE(image.shard, offset);
  to.writeUIntLE(image.offset, offset + 4, 6);
  to.writeUInt16LE(image.view, offset + 10);
  to.writeUInt32LE(image.bytes, offset + 12);
}

/** Reads the record of the table `images` at byte `offset`. */
export function readImageRecord(from: Buffer, offset: number): ImageLocation {
  return {
    shard: from.readUInt32LE(offset),
    offset: from.readUIntLE(offset + 4, 6),
    view: from.readUInt16LE(offset + 10),
    bytes: from.readUInt32LE(offset + 12),
  };
}

/**
 * Bytes per entry of the table `tokens`: 2 while every token id is below the number that stands for an image, and below the
 * bit that marks a prompt where there are conversations.
 */
export function entryBytesFor(vocabularySize: number, hasConversations: boolean): EntryBytes {
  return vocabularySize <= (hasConversations ? MARKABLE[2] : 0xffff) ? 2 : 4;
}

/** The largest vocabulary whose ids leave the highest bit free, by bytes per entry. */
const MARKABLE: Readonly<Record<EntryBytes, number>> = { 2: 0x7fff, 4: 0x7fffffff };

/** Writes the entries of a segment, token ids or IMAGE_ENTRY, at byte `offset`. */
export function writeEntries(
  to: Buffer,
  offset: number,
  { entries, targets }: Pick<Segment, 'entries' | 'targets'>,
  entryBytes: EntryBytes,
): void {
  for (const [i, entry] of entries.entries()) {
    const isPrompt = targets !== null && targets[i] === 0 && entry !== IMAGE_ENTRY;
    if (entryBytes === 2)
      to.writeUInt16LE(entry === IMAGE_ENTRY ? 0xffff : isPrompt ? entry + 0x8000 : entry, offset + 2 * i);
    else to.writeUInt32LE(entry === IMAGE_ENTRY ? 0xffffffff : isPrompt ? entry + 0x80000000 : entry, offset + 4 * i);
  }
}

/** Reads all entries of a buffer of the table `tokens`. `targets` is null where no entry is marked as a prompt. */
export function readEntries(
  from: Buffer,
  entryBytes: EntryBytes,
  vocabularySize: number,
): Pick<Segment, 'entries' | 'targets'> {
  const entries = new Int32Array(from.length / entryBytes);
  const targets = new Uint8Array(entries.length);
  const [image, mark] = entryBytes === 2 ? [0xffff, 0x8000] : [0xffffffff, 0x80000000];
  const hasMarks = vocabularySize <= MARKABLE[entryBytes];
  let hasPrompt = false;
  for (let i = 0; i < entries.length; i++) {
    const value = entryBytes === 2 ? from.readUInt16LE(2 * i) : from.readUInt32LE(4 * i);
    const isPrompt = hasMarks && value !== image && value >= mark;
    hasPrompt ||= isPrompt;
    entries[i] = value === image ? IMAGE_ENTRY : isPrompt ? value - mark : value;
    targets[i] = value === image || isPrompt ? 0 : 1;
  }
  return { entries, targets: hasPrompt ? targets : null };
}
