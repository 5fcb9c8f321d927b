/**
 * The tables of an index, one file each per source, little-endian, records of one size so that the n-th lies at
 * n · size. Numbers that count bytes or rows have 48 bits.
 *
 * - `tokens`: 2 or 4 bytes per entry: a token id, or the largest number where an image stands.
 * - `sequences`: where a row's pieces, entries and images start in the other tables, and how many there are.
 * - `pieces`: the row's pieces in order, each with its number of entries, positions and images.
 * - `images`: shard, offset and bytes of each image, in the order of their entries.
 */
export const TABLES = ['sequences', 'pieces', 'images', 'tokens'] as const;
export type Table = (typeof TABLES)[number];

export const SEQUENCE_RECORD_BYTES = 32;
export const PIECE_RECORD_BYTES = 24;
export const IMAGE_RECORD_BYTES = 16;

export interface SequenceRecord {
  readonly firstPiece: number;
  readonly pieces: number;
  readonly firstEntry: number;
  readonly entries: number;
  readonly firstImage: number;
  readonly images: number;
  /** Positions used; the rest of the row is padding. */
  readonly positions: number;
}

export interface PieceRecord {
  readonly document: number;
  readonly part: number;
  readonly entries: number;
  readonly positions: number;
  readonly images: number;
}

export function writeSequenceRecord(to: Buffer, offset: number, record: SequenceRecord): void {
  to.writeUIntLE(record.firstPiece, offset, 6);
  to.writeUIntLE(record.firstEntry, offset + 6, 6);
  to.writeUIntLE(record.firstImage, offset + 12, 6);
  to.writeUInt16LE(record.images, offset + 18);
  to.writeUInt32LE(record.pieces, offset + 20);
  to.writeUInt32LE(record.entries, offset + 24);
  to.writeUInt32LE(record.positions, offset + 28);
}

export function readSequenceRecord(from: Buffer, offset: number): SequenceRecord {
  return {
    firstPiece: from.readUIntLE(offset, 6),
    firstEntry: from.readUIntLE(offset + 6, 6),
    firstImage: from.readUIntLE(offset + 12, 6),
    images: from.readUInt16LE(offset + 18),
    pieces: from.readUInt32LE(offset + 20),
    entries: from.readUInt32LE(offset + 24),
    positions: from.readUInt32LE(offset + 28),
  };
}

export function writePieceRecord(to: Buffer, offset: number, record: PieceRecord): void {
  to.writeUIntLE(record.document, offset, 6);
  to.writeUInt16LE(record.images, offset + 6);
  to.writeUInt32LE(record.part, offset + 8);
  to.writeUInt32LE(record.entries, offset + 12);
  to.writeUInt32LE(record.positions, offset + 16);
  to.writeUInt32LE(0, offset + 20);
}

export function readPieceRecord(from: Buffer, offset: number): PieceRecord {
  return {
    document: from.readUIntLE(offset, 6),
    images: from.readUInt16LE(offset + 6),
    part: from.readUInt32LE(offset + 8),
    entries: from.readUInt32LE(offset + 12),
    positions: from.readUInt32LE(offset + 16),
  };
}

export interface ImageRecord {
  readonly shard: number;
  readonly offset: number;
  readonly bytes: number;
}

export function writeImageRecord(to: Buffer, offset: number, record: ImageRecord): void {
  to.writeUInt32LE(record.shard, offset);
  to.writeUIntLE(record.offset, offset + 4, 6);
  to.writeUInt16LE(0, offset + 10);
  to.writeUInt32LE(record.bytes, offset + 12);
}

export function readImageRecord(from: Buffer, offset: number): ImageRecord {
  return {
    shard: from.readUInt32LE(offset),
    offset: from.readUIntLE(offset + 4, 6),
    bytes: from.readUInt32LE(offset + 12),
  };
}

/** The width of an entry: two bytes while every token id lies below the number that stands for an image. */
export function entryBytesFor(vocabularySize: number): 2 | 4 {
  return vocabularySize <= 0xffff ? 2 : 4;
}
