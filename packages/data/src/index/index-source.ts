import { join } from 'node:path';
import type { SourceId } from '@weft/common';
import type { SourceKind } from '@weft/config';
import { IMAGE_ENTRY, type PackingLimits, type Piece } from '../packing/piece.js';
import { PieceCutter } from '../packing/piece-cutter.js';
import { RowPacker } from '../packing/row-packer.js';
import type { SourceDocument } from '../shards/document.js';
import { shardDocuments } from '../shards/documents.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';
import { ImageChecker } from './image-checker.js';
import { type IndexedShard, type SourceManifest, tableFile } from './manifest.js';
import {
  entryBytesFor,
  IMAGE_RECORD_BYTES,
  PIECE_RECORD_BYTES,
  SEQUENCE_RECORD_BYTES,
  TABLES,
  writeImageRecord,
  writePieceRecord,
  writeSequenceRecord,
} from './records.js';
import { TableWriter } from './table-writer.js';

/**
 * Reads, tokenizes and packs the shards of one source and writes its tables into `folder`. Holds the open rows and
 * the write buffers in memory, whatever the size of the source.
 */
export async function indexSource(options: {
  readonly directory: string;
  readonly source: SourceId;
  readonly kind: SourceKind;
  readonly shards: readonly IndexedShard[];
  readonly folder: string;
  readonly tokenizer: Tokenizer;
  readonly limits: PackingLimits;
  readonly onShard: (shard: IndexedShard) => void;
}): Promise<SourceManifest> {
  const { directory, source, kind, shards, tokenizer, limits } = options;
  const tables = await SourceTables.create(options.folder, source, tokenizer.vocabularySize);
  try {
    const packer = new RowPacker(limits, (pieces) => tables.addSequence(pieces));
    let documents = 0;
    for (const [number, shard] of shards.entries()) {
      options.onShard(shard);
      const checker = kind === 'text' ? undefined : await ImageChecker.open(join(directory, source, shard.name));
      try {
        for await (const document of shardDocuments(directory, source, kind, shard.name, number)) {
          const cutter = new PieceCutter(limits, documents, (piece) => packer.add(piece));
          if (!(await cutDocument(document, tokenizer, cutter, checker, tables))) continue;
          documents++;
          await tables.drain();
        }
        await checker?.finish();
      } finally {
        await checker?.close();
      }
    }
    packer.finish();
    return { shards, documents, ...(await tables.finish()) };
  } catch (thrown) {
    await tables.abandon();
    throw thrown;
  }
}

/** @returns false for a document without text and images, which leaves no trace. */
async function cutDocument(
  document: SourceDocument,
  tokenizer: Tokenizer,
  cutter: PieceCutter,
  checker: ImageChecker | undefined,
  tables: SourceTables,
): Promise<boolean> {
  let isEmpty = true;
  for await (const part of document.parts) {
    if (part.kind === 'image') {
      await checker?.check(part.image, part.name);
      cutter.addImage(part.image);
      isEmpty = false;
    } else {
      const ids = tokenizer.encode(part.text);
      cutter.addTokens(ids);
      isEmpty &&= ids.length === 0;
      // One document may be as long as a file.
      await tables.drain();
    }
  }
  if (isEmpty) return false;
  cutter.addTokens(Int32Array.of(tokenizer.endOfTextId));
  cutter.finish();
  return true;
}

/** The four tables of a source while they grow. */
class SourceTables {
  readonly #writers: Record<(typeof TABLES)[number], TableWriter>;
  readonly #entryBytes: 2 | 4;
  #sequences = 0;
  #pieces = 0;
  #images = 0;
  #entries = 0;
  #positions = 0;

  static async create(folder: string, source: SourceId, vocabularySize: number): Promise<SourceTables> {
    const open = (table: (typeof TABLES)[number]) => TableWriter.create(join(folder, tableFile(source, table)));
    const writers = {
      sequences: await open('sequences'),
      pieces: await open('pieces'),
      images: await open('images'),
      tokens: await open('tokens'),
    };
    return new SourceTables(writers, entryBytesFor(vocabularySize));
  }

  private constructor(writers: Record<(typeof TABLES)[number], TableWriter>, entryBytes: 2 | 4) {
    this.#writers = writers;
    this.#entryBytes = entryBytes;
  }

  addSequence(pieces: readonly Piece[]): void {
    const sum = (count: (piece: Piece) => number) => pieces.reduce((total, piece) => total + count(piece), 0);
    const record = {
      firstPiece: this.#pieces,
      pieces: pieces.length,
      firstEntry: this.#entries,
      entries: sum(({ entries }) => entries.length),
      firstImage: this.#images,
      images: sum(({ images }) => images.length),
      positions: sum(({ positions }) => positions),
    };
    this.#writers.sequences.append(SEQUENCE_RECORD_BYTES, (to, at) => writeSequenceRecord(to, at, record));
    for (const piece of pieces) this.#addPiece(piece);
    this.#sequences++;
    this.#pieces += record.pieces;
    this.#entries += record.entries;
    this.#images += record.images;
    this.#positions += record.positions;
  }

  async drain(): Promise<void> {
    for (const table of TABLES) await this.#writers[table].drain();
  }

  async finish(): Promise<Omit<SourceManifest, 'shards' | 'documents'>> {
    const finished = {
      sequences: await this.#writers.sequences.finish(),
      pieces: await this.#writers.pieces.finish(),
      images: await this.#writers.images.finish(),
      tokens: await this.#writers.tokens.finish(),
    };
    return {
      pieces: this.#pieces,
      sequences: this.#sequences,
      textTokens: this.#entries - this.#images,
      images: this.#images,
      positions: this.#positions,
      files: finished,
    };
  }

  async abandon(): Promise<void> {
    for (const table of TABLES) await this.#writers[table].abandon();
  }

  #addPiece(piece: Piece): void {
    this.#writers.pieces.append(PIECE_RECORD_BYTES, (to, at) =>
      writePieceRecord(to, at, {
        document: piece.document,
        part: piece.part,
        entries: piece.entries.length,
        positions: piece.positions,
        images: piece.images.length,
      }),
    );
    for (const image of piece.images)
      this.#writers.images.append(IMAGE_RECORD_BYTES, (to, at) => writeImageRecord(to, at, image));
    this.#writers.tokens.append(piece.entries.length * this.#entryBytes, (to, at) => {
      for (let i = 0; i < piece.entries.length; i++) {
        const entry = piece.entries[i]!;
        if (this.#entryBytes === 2) to.writeUInt16LE(entry === IMAGE_ENTRY ? 0xffff : entry, at + 2 * i);
        else to.writeUInt32LE(entry === IMAGE_ENTRY ? 0xffffffff : entry, at + 4 * i);
      }
    });
  }
}
