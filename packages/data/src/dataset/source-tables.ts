import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { ofSource, type SourceId, WeftError } from '@weft/common';
import { fileBytes, readExactly } from '../files.js';
import { type IndexManifest, REINDEX, tableFile } from '../index/manifest.js';
import {
  IMAGE_RECORD_BYTES,
  PIECE_RECORD_BYTES,
  readImageRecord,
  readPieceRecord,
  readSequenceRecord,
  SEQUENCE_RECORD_BYTES,
  type SequenceRecord,
  TABLES,
  type Table,
} from '../index/records.js';
import { IMAGE_ENTRY, type Piece } from '../packing/piece.js';
import type { PackedSequence } from './packed-sequence.js';

/** The tables of one source of an index, opened for reading rows by number. */
export class SourceTables {
  readonly #folder: string;
  readonly #source: SourceId;
  readonly #manifest: IndexManifest;
  readonly #handles: Readonly<Record<Table, FileHandle>>;

  /** @throws `corrupt_data` when a table is missing or has another size than the manifest says. */
  static async open(folder: string, source: SourceId, manifest: IndexManifest): Promise<SourceTables> {
    for (const table of TABLES) {
      const path = join(folder, tableFile(source, table));
      const wanted = ofSource(manifest.sources, source).files[table].bytes;
      const bytes = await fileBytes(path);
      if (bytes !== wanted)
        throw new WeftError(
          'corrupt_data',
          `the data index file ${path} ${bytes === undefined ? 'is missing' : `has ${bytes} bytes instead of ${wanted}`}`,
          { cure: REINDEX },
        );
    }
    const handle = (table: Table) => open(join(folder, tableFile(source, table)), 'r');
    const handles = {
      sequences: await handle('sequences'),
      pieces: await handle('pieces'),
      images: await handle('images'),
      tokens: await handle('tokens'),
    };
    return new SourceTables(folder, source, manifest, handles);
  }

  private constructor(folder: string, source: SourceId, manifest: IndexManifest, handles: Record<Table, FileHandle>) {
    this.#folder = folder;
    this.#source = source;
    this.#manifest = manifest;
    this.#handles = handles;
  }

  /** @throws `corrupt_data` when the tables contradict each other. */
  async readSequence(index: number): Promise<PackedSequence> {
    const record = readSequenceRecord(
      await this.#read('sequences', index * SEQUENCE_RECORD_BYTES, SEQUENCE_RECORD_BYTES),
      0,
    );
    const { sequenceLength, imagesPerSequence } = this.#manifest.packing;
    // Checked before memory is taken for what the record claims.
    const isPossible =
      record.positions <= sequenceLength &&
      record.entries <= record.positions &&
      record.pieces <= record.entries &&
      record.images <= imagesPerSequence;
    if (!isPossible) throw this.#contradiction(index);
    return { source: this.#source, index, positions: record.positions, pieces: await this.#readPieces(index, record) };
  }

  async close(): Promise<void> {
    for (const table of TABLES) await this.#handles[table].close();
  }

  async #readPieces(index: number, record: SequenceRecord): Promise<readonly Piece[]> {
    const { entryBytes, packing } = this.#manifest;
    const [pieceBytes, imageBytes, tokenBytes] = await Promise.all([
      this.#read('pieces', record.firstPiece * PIECE_RECORD_BYTES, record.pieces * PIECE_RECORD_BYTES),
      this.#read('images', record.firstImage * IMAGE_RECORD_BYTES, record.images * IMAGE_RECORD_BYTES),
      this.#read('tokens', record.firstEntry * entryBytes, record.entries * entryBytes),
    ]);
    const entries = readEntries(tokenBytes, entryBytes);
    const images = Array.from({ length: record.images }, (_, i) => readImageRecord(imageBytes, i * IMAGE_RECORD_BYTES));
    let entry = 0;
    let image = 0;
    const pieces = Array.from({ length: record.pieces }, (_, i): Piece => {
      const piece = readPieceRecord(pieceBytes, i * PIECE_RECORD_BYTES);
      const part = {
        document: piece.document,
        part: piece.part,
        positions: piece.positions,
        entries: entries.subarray(entry, entry + piece.entries),
        images: images.slice(image, image + piece.images),
      };
      entry += piece.entries;
      image += piece.images;
      return part;
    });
    if (!agrees(pieces, record, packing.tokensPerImage)) throw this.#contradiction(index);
    return pieces;
  }

  #read(table: Table, offset: number, bytes: number): Promise<Buffer> {
    const path = join(this.#folder, tableFile(this.#source, table));
    return readExactly(this.#handles[table], path, offset, bytes);
  }

  #contradiction(index: number): WeftError {
    return new WeftError(
      'corrupt_data',
      `the data index ${this.#folder} contradicts itself about ${this.#source} sequence ${index}`,
      { cure: REINDEX },
    );
  }
}

/** Whether the pieces account for all entries, images and positions of the row, each with K positions per image. */
function agrees(pieces: readonly Piece[], record: SequenceRecord, tokensPerImage: number): boolean {
  const total = { entries: 0, images: 0, positions: 0 };
  for (const { entries, images, positions } of pieces) {
    const marks = entries.reduce((count, entry) => count + (entry === IMAGE_ENTRY ? 1 : 0), 0);
    if (marks !== images.length || positions !== entries.length + marks * (tokensPerImage - 1)) return false;
    total.entries += entries.length;
    total.images += images.length;
    total.positions += positions;
  }
  return total.entries === record.entries && total.images === record.images && total.positions === record.positions;
}

function readEntries(bytes: Buffer, entryBytes: 2 | 4): Int32Array {
  const entries = new Int32Array(bytes.length / entryBytes);
  for (let i = 0; i < entries.length; i++) {
    const value = entryBytes === 2 ? bytes.readUInt16LE(2 * i) : bytes.readUInt32LE(4 * i);
    entries[i] = value === (entryBytes === 2 ? 0xffff : 0xffffffff) ? IMAGE_ENTRY : value;
  }
  return entries;
}
