import { join } from 'node:path';
import type { SourceId } from '@weft/common';
import { type SourcePart, tableFile } from './manifest.js';
import {
  IMAGE_RECORD_BYTES,
  SEGMENT_RECORD_BYTES,
  SEQUENCE_RECORD_BYTES,
  TABLES,
  type Table,
  writeImageRecord,
  writeSegmentRecord,
  writeSequenceRecord,
} from './records.js';
import type { PartSegment } from './shard-part.js';
import { TableWriter } from './table-writer.js';

/** Writes the four tables of a source, sequence by sequence. */
export class SourceTablesWriter {
  readonly #tables: Record<Table, TableWriter>;
  #sequences = 0;
  #segments = 0;
  #images = 0;
  #entries = 0;
  #positions = 0;

  /** Creates the files of the tables in `folder`; they must not exist. @param version of the index that they belong to */
  static async create(folder: string, source: SourceId, version: number): Promise<SourceTablesWriter> {
    const created: TableWriter[] = [];
    const create = async (table: Table) => {
      const writer = await TableWriter.create(join(folder, tableFile(source, table, version)));
      created.push(writer);
      return writer;
    };
    try {
      const tables = {
        sequences: await create('sequences'),
        segments: await create('segments'),
        images: await create('images'),
        tokens: await create('tokens'),
      };
      return new SourceTablesWriter(tables);
    } catch (thrown) {
      for (const writer of created) await writer.abandon();
      throw thrown;
    }
  }

  private constructor(tables: Record<Table, TableWriter>) {
    this.#tables = tables;
  }

  /** Buffers one sequence. Call `flush` now and then. */
  addSequence(segments: readonly PartSegment[]): void {
    const sum = (count: (segment: PartSegment) => number) => segments.reduce((total, each) => total + count(each), 0);
    const record = {
      firstSegment: this.#segments,
      segments: segments.length,
      firstEntry: this.#entries,
      entries: sum(({ entries }) => entries),
      firstImage: this.#images,
      images: sum(({ images }) => images.length),
      positions: sum(({ positions }) => positions),
    };
    this.#tables.sequences.append(SEQUENCE_RECORD_BYTES, (to, at) => writeSequenceRecord(to, at, record));
    for (const segment of segments) this.#addSegment(segment);
    this.#sequences++;
    this.#segments += record.segments;
    this.#entries += record.entries;
    this.#images += record.images;
    this.#positions += record.positions;
  }

  /** Writes buffers that have become large. */
  async flush(): Promise<void> {
    for (const table of TABLES) await this.#tables[table].flush();
  }

  /** Makes the files durable and closes them. */
  async finish(): Promise<Omit<SourcePart, 'version' | 'documents'>> {
    return {
      segments: this.#segments,
      sequences: this.#sequences,
      textTokens: this.#entries - this.#images,
      images: this.#images,
      positions: this.#positions,
      files: {
        sequences: await this.#tables.sequences.finish(),
        segments: await this.#tables.segments.finish(),
        images: await this.#tables.images.finish(),
        tokens: await this.#tables.tokens.finish(),
      },
    };
  }

  /** Closes the files unfinished, after an error. */
  async abandon(): Promise<void> {
    for (const table of TABLES) await this.#tables[table].abandon();
  }

  #addSegment(segment: PartSegment): void {
    const { document, part, entries, positions, images, tokens } = segment;
    const record = { document, part, entries, positions, images: images.length };
    this.#tables.segments.append(SEGMENT_RECORD_BYTES, (to, at) => writeSegmentRecord(to, at, record));
    for (const image of images)
      this.#tables.images.append(IMAGE_RECORD_BYTES, (to, at) => writeImageRecord(to, at, image));
    this.#tables.tokens.append(tokens.length, (to, at) => tokens.copy(to, at));
  }
}
