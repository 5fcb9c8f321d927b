import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { ofSource, type SourceId, WeftError } from '@weft/common';
import { fileBytes, readExactly } from '@weft/files';
import { type IndexManifest, partsOf, REINDEX, type SourcePart, tableFile } from './manifest.js';
import { IMAGE_ENTRY, type PackedSequence, type Segment } from './packed-sequence.js';
import {
  IMAGE_RECORD_BYTES,
  readEntries,
  readImageRecord,
  readSegmentRecord,
  readSequenceRecord,
  SEGMENT_RECORD_BYTES,
  SEQUENCE_RECORD_BYTES,
  type SequenceRecord,
  TABLES,
  type Table,
} from './records.js';

/** A sample of a large table is so many blocks of so many neighbouring records. */
const SAMPLE_BLOCKS = 64;
const SAMPLE_BLOCK = 128;

/** The tables of one source of an index, of all its versions, open for reading sequences by index. */
export class SourceTables {
  /** In rising order, each with the number of its first sequence. */
  readonly #parts: readonly OpenPart[];

  /** @throws WeftError `corrupt_data` when a table is missing or its size differs from the manifest */
  static async open(folder: string, source: SourceId, manifest: IndexManifest): Promise<SourceTables> {
    const opened: OpenPart[] = [];
    let first = 0;
    try {
      for (const part of partsOf(ofSource(manifest.sources, source))) {
        const { sequences } = part;
        opened.push({ first, sequences, tables: await PartTables.open({ folder, source, manifest, part, first }) });
        first += sequences;
      }
      return new SourceTables(opened);
    } catch (thrown) {
      for (const { tables } of opened) await tables.close();
      throw thrown;
    }
  }

  private constructor(parts: readonly OpenPart[]) {
    this.#parts = parts;
  }

  /** @throws WeftError `corrupt_data` when the tables are inconsistent */
  async readSequence(index: number): Promise<PackedSequence> {
    const { first, tables } = this.#parts.findLast((part) => part.first <= index)!;
    return tables.readSequence(index - first);
  }

  /**
   * The images of each sequence of the source as it was first indexed, or of a sample where there are many: blocks of
   * neighbours at equal distances.
   *
   * @throws WeftError `corrupt_data` when the tables are inconsistent
   */
  async sampleImageCounts(): Promise<Uint16Array> {
    const part = this.#parts.find(({ sequences }) => sequences > 0);
    return part === undefined ? new Uint16Array(0) : part.tables.sampleImageCounts(part.sequences);
  }

  async close(): Promise<void> {
    for (const { tables } of this.#parts) await tables.close();
  }
}

interface OpenPart {
  /** The number of its first sequence in the source. */
  readonly first: number;
  readonly sequences: number;
  readonly tables: PartTables;
}

/** Which tables a `PartTables` reads. */
interface PartLocation {
  readonly folder: string;
  readonly source: SourceId;
  readonly manifest: IndexManifest;
  readonly part: SourcePart;
  /** The number of its first sequence in the source. */
  readonly first: number;
}

/** The tables of what one version of an index adds to a source. */
class PartTables {
  readonly #location: PartLocation;
  readonly #handles: Readonly<Record<Table, FileHandle>>;

  static async open(location: PartLocation): Promise<PartTables> {
    const { folder, source, part } = location;
    for (const table of TABLES) {
      const path = join(folder, tableFile(source, table, part.version));
      const wanted = part.files[table].bytes;
      const bytes = await fileBytes(path);
      if (bytes !== wanted)
        throw new WeftError(
          'corrupt_data',
          `the data index file ${path} ${bytes === undefined ? 'is missing' : `has ${bytes} bytes instead of ${wanted}`}`,
          { hint: REINDEX },
        );
    }
    const opened: FileHandle[] = [];
    const handle = async (table: Table) => {
      const file = await open(join(folder, tableFile(source, table, part.version)), 'r');
      opened.push(file);
      return file;
    };
    try {
      const handles = {
        sequences: await handle('sequences'),
        segments: await handle('segments'),
        images: await handle('images'),
        tokens: await handle('tokens'),
      };
      return new PartTables(location, handles);
    } catch (thrown) {
      for (const file of opened) await file.close();
      throw thrown;
    }
  }

  private constructor(location: PartLocation, handles: Record<Table, FileHandle>) {
    this.#location = location;
    this.#handles = handles;
  }

  /** @param index in this part */
  async readSequence(index: number): Promise<PackedSequence> {
    const record = readSequenceRecord(
      await this.#read('sequences', index * SEQUENCE_RECORD_BYTES, SEQUENCE_RECORD_BYTES),
      0,
    );
    const { sequenceLength, imagesPerSequence } = this.#location.manifest.packing;
    // Checked before memory is allocated for what the record claims.
    const isPossible =
      record.positions <= sequenceLength &&
      record.entries <= record.positions &&
      record.segments <= record.entries &&
      record.images <= imagesPerSequence;
    if (!isPossible) throw this.#corruptIndex(index);
    const segments = await this.#readSegments(record);
    if (!matches(segments, record, this.#location.manifest.packing.tokensPerImage)) throw this.#corruptIndex(index);
    const { source, first } = this.#location;
    return { source, index: first + index, positions: record.positions, segments };
  }

  async sampleImageCounts(count: number): Promise<Uint16Array> {
    const blocks = count <= SAMPLE_BLOCKS * SAMPLE_BLOCK ? 1 : SAMPLE_BLOCKS;
    const perBlock = blocks === 1 ? count : SAMPLE_BLOCK;
    const images: number[] = [];
    for (let block = 0; block < blocks; block++) {
      const first = Math.floor((block * count) / blocks);
      const records = await this.#read('sequences', first * SEQUENCE_RECORD_BYTES, perBlock * SEQUENCE_RECORD_BYTES);
      for (let i = 0; i < perBlock; i++) {
        const record = readSequenceRecord(records, i * SEQUENCE_RECORD_BYTES);
        if (record.images > this.#location.manifest.packing.imagesPerSequence) throw this.#corruptIndex(first + i);
        images.push(record.images);
      }
    }
    return Uint16Array.from(images);
  }

  async close(): Promise<void> {
    for (const table of TABLES) await this.#handles[table].close();
  }

  async #readSegments(record: SequenceRecord): Promise<readonly Segment[]> {
    const { entryBytes, tokenizer } = this.#location.manifest;
    const [segmentBytes, imageBytes, tokenBytes] = await Promise.all([
      this.#read('segments', record.firstSegment * SEGMENT_RECORD_BYTES, record.segments * SEGMENT_RECORD_BYTES),
      this.#read('images', record.firstImage * IMAGE_RECORD_BYTES, record.images * IMAGE_RECORD_BYTES),
      this.#read('tokens', record.firstEntry * entryBytes, record.entries * entryBytes),
    ]);
    const { entries, targets } = readEntries(tokenBytes, entryBytes, tokenizer.vocabularySize);
    const images = Array.from({ length: record.images }, (_, i) => readImageRecord(imageBytes, i * IMAGE_RECORD_BYTES));
    let firstEntry = 0;
    let firstImage = 0;
    return Array.from({ length: record.segments }, (_, i): Segment => {
      const segment = readSegmentRecord(segmentBytes, i * SEGMENT_RECORD_BYTES);
      const [endEntry, endImage] = [firstEntry + segment.entries, firstImage + segment.images];
      const result = {
        document: segment.document,
        part: segment.part,
        positions: segment.positions,
        entries: entries.subarray(firstEntry, endEntry),
        targets: targets?.subarray(firstEntry, endEntry) ?? null,
        images: images.slice(firstImage, endImage),
      };
      [firstEntry, firstImage] = [endEntry, endImage];
      return result;
    });
  }

  #read(table: Table, offset: number, bytes: number): Promise<Buffer> {
    const { folder, source, part } = this.#location;
    const path = join(folder, tableFile(source, table, part.version));
    return readExactly(this.#handles[table], path, offset, bytes);
  }

  #corruptIndex(index: number): WeftError {
    const { folder, source, first } = this.#location;
    return new WeftError(
      'corrupt_data',
      `the data index ${folder} contradicts itself about ${source} sequence ${first + index}`,
      { hint: REINDEX },
    );
  }
}

/** Whether the segments add up to the entries, images and positions of the record, each with K positions per image. */
function matches(segments: readonly Segment[], record: SequenceRecord, tokensPerImage: number): boolean {
  const total = { entries: 0, images: 0, positions: 0 };
  for (const { entries, images, positions } of segments) {
    const imageEntries = entries.reduce((count, entry) => count + (entry === IMAGE_ENTRY ? 1 : 0), 0);
    if (imageEntries !== images.length) return false;
    if (positions !== entries.length + imageEntries * (tokensPerImage - 1)) return false;
    total.entries += entries.length;
    total.images += images.length;
    total.positions += positions;
  }
  return total.entries === record.entries && total.images === record.images && total.positions === record.positions;
}
