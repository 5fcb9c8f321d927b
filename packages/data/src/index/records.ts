import type { ImageLocation } from '../formats/document.js';
import { IMAGE_ENTRY } from './packed-sequence.js';

/** Bytes per entry of the table `tokens`. */
export type EntryBytes = 2 | 4;

/**
 * The tables of an index: one file per table and source, little-endian, records of fixed size, so that record n starts
 * at n · size. Counts of bytes and rows have 48 bits.
 *
 * - `sequences`: where the segments, entries and images of a sequence start in the other tables, and how many it has.
 * - `segments`: the segments of the sequences in order, each with its number of entries, positions and images.
 * - `images`: shard, offset and bytes of each image, in the order of their entries.
 * - `tokens`: 2 or 4 bytes per entry: a token id, or the largest number for an image.
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
  to.writeUInt16LE(0, offset + 10);
  to.writeUInt32LE(image.bytes, offset + 12);
}

/** Reads the record of the table `images` at byte `offset`. */
export function readImageRecord(from: Buffer, offset: number): ImageLocation {
  return {
    shard: from.readUInt32LE(offset),
    offset: from.readUIntLE(offset + 4, 6),
    bytes: from.readUInt32LE(offset + 12),
  };
}

/** Bytes per entry of the table `tokens`: 2 while every token id is below the number that stands for an image. */
export function entryBytesFor(vocabularySize: number): EntryBytes {
  return vocabularySize <= 0xffff ? 2 : 4;
}

/** Writes the entries of a segment, token ids or IMAGE_ENTRY, at byte `offset`. */
export function writeEntries(to: Buffer, offset: number, entries: Int32Array, entryBytes: EntryBytes): void {
  for (const [i, entry] of entries.entries()) {
    if (entryBytes === 2) to.writeUInt16LE(entry === IMAGE_ENTRY ? 0xffff : entry, offset + 2 * i);
    else to.writeUInt32LE(entry === IMAGE_ENTRY ? 0xffffffff : entry, offset + 4 * i);
  }
}

/** Reads all entries of a buffer of the table `tokens`. */
export function readEntries(from: Buffer, entryBytes: EntryBytes): Int32Array {
  const entries = new Int32Array(from.length / entryBytes);
  for (let i = 0; i < entries.length; i++) {
    const value = entryBytes === 2 ? from.readUInt16LE(2 * i) : from.readUInt32LE(4 * i);
    entries[i] = value === (entryBytes === 2 ? 0xffff : 0xffffffff) ? IMAGE_ENTRY : value;
  }
  return entries;
}
