import { join } from 'node:path';
import { mapSources, type PerSource, plural, type SourceId, WeftError } from '@weft/common';
import type { DataConfig } from '@weft/config';
import { joinPath } from '@weft/files';
import type { OnProgress } from '../progress.js';
import { contactSheet } from './contact-sheet.js';
import { Dataset } from './dataset.js';
import { sha256OfShard } from './known-shards.js';
import { type DatasetConfig, datasetFolder, partsOf, REINDEX, type SourceManifest, tableFile } from './manifest.js';
import { IMAGE_ENTRY, type PackingLimits, type Segment } from './packed-sequence.js';
import { TABLES } from './records.js';

/** Counts of one source. */
export interface SourceSummary {
  readonly shards: number;
  /** Of all shards together. */
  readonly shardBytes: number;
  readonly documents: number;
  readonly segments: number;
  readonly sequences: number;
  readonly textTokens: number;
  readonly images: number;
  /** Used positions among all positions, 0 to 1; 0 for an empty source. */
  readonly fillRatio: number;
  /** Images among all places for images, 0 to 1; 0 for an empty source. */
  readonly imageSlotRatio: number;
}

/** What `inspectDataset` found. */
export interface DatasetSummary {
  /** The folder of the index. */
  readonly directory: string;
  /** SHA-256 of its manifest. */
  readonly identity: string;
  readonly tokenizer: string;
  readonly limits: PackingLimits;
  readonly sources: PerSource<SourceSummary>;
  /** Whether the hashes of all shards and tables were compared. */
  readonly isVerified: boolean;
  /** The description of the sequence asked for, several lines. */
  readonly sequence: string | undefined;
  /** A PNG of the images of that sequence, where it was asked for: see `contactSheet`. */
  readonly sheet: Uint8Array | undefined;
}

/**
 * Summarises a dataset; on request also verifies the hashes of its files and describes one sequence.
 *
 * @param options.verify compare the SHA-256 of every shard and table; default false
 * @param options.show the sequence to describe; `sheet`: with a picture of its images
 * @throws WeftError like `Dataset.open`; `corrupt_data` naming the first file whose hash differs
 */
export async function inspectDataset(
  options: DatasetConfig & {
    readonly verify?: boolean;
    readonly show?: { readonly source: SourceId; readonly sequence: number; readonly sheet?: boolean };
    readonly onProgress?: OnProgress;
  },
): Promise<DatasetSummary> {
  const { data, verify = false, show } = options;
  const dataset = await Dataset.open(options);
  try {
    if (verify) await verifyHashes(dataset, data, options.onProgress ?? (() => undefined));
    return {
      directory: dataset.directory,
      identity: dataset.identity,
      tokenizer: dataset.tokenizer.name,
      limits: dataset.limits,
      sources: mapSources(dataset.manifest.sources, (source) => summarise(source, dataset.limits)),
      isVerified: verify,
      sequence: show === undefined ? undefined : await describeSequence(dataset, show.source, show.sequence),
      sheet:
        show?.sheet === true
          ? await contactSheet(dataset, await dataset.readSequence(show.source, show.sequence))
          : undefined,
    };
  } finally {
    await dataset.close();
  }
}

function summarise(source: SourceManifest, { sequenceLength, imagesPerSequence }: PackingLimits): SourceSummary {
  const { shards, documents, segments, sequences, textTokens, images, positions } = source;
  const available = sequences * sequenceLength;
  return {
    shards: shards.length,
    shardBytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
    documents,
    segments,
    sequences,
    textTokens,
    images,
    fillRatio: available === 0 ? 0 : positions / available,
    imageSlotRatio: sequences === 0 ? 0 : images / (sequences * imagesPerSequence),
  };
}

async function verifyHashes(
  dataset: Dataset,
  data: Pick<DataConfig, 'directory' | 'datasets'>,
  onProgress: OnProgress,
): Promise<void> {
  const files = Object.entries(dataset.manifest.sources).flatMap(([source, indexed]) => {
    const tables = partsOf(indexed).flatMap(({ version, files }) =>
      TABLES.map((table) => ({ path: join(dataset.directory, tableFile(source, table, version)), ...files[table] })),
    );
    return [
      ...indexed.shards.map(({ name, bytes, sha256 }) => ({
        path: joinPath(datasetFolder(data, source), name),
        bytes,
        sha256,
      })),
      ...tables,
    ];
  });
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const { path, sha256 } of files) {
    onProgress({ phase: 'verify', what: path, done, total, unit: 'bytes' });
    const found = await sha256OfShard(path, dataset.store, (bytes) => {
      done += bytes;
    });
    if (found !== sha256)
      throw new WeftError(
        'corrupt_data',
        `${path} has changed: its SHA-256 is ${found}, the data index says ${sha256}`,
        {
          hint: `restore the file, or ${REINDEX}`,
        },
      );
  }
  onProgress({ phase: 'verify', what: dataset.directory, done, total, unit: 'bytes' });
}

/** One paragraph per segment, with `⟨image 1: shard member⟩` for an image, numbered as on the contact sheet, and `⟨end⟩` at the end of a document. */
async function describeSequence(dataset: Dataset, source: SourceId, index: number): Promise<string> {
  const sequence = await dataset.readSequence(source, index);
  const images = sequence.segments.reduce((sum, segment) => sum + segment.images.length, 0);
  const lines = [
    `${source} sequence ${index}: ${sequence.positions} of ${dataset.limits.sequenceLength} positions, ` +
      `${plural(sequence.segments.length, 'segment')}, ${plural(images, 'image')}`,
  ];
  let firstImage = 1;
  for (const [number, segment] of sequence.segments.entries()) {
    const part = segment.part === 0 ? '' : `, continued (part ${segment.part + 1})`;
    const name = await dataset.documentName(source, segment.document);
    const where = name === undefined ? '' : ` (${`${source}/${name.shard} ${name.key}`.trimEnd()})`;
    lines.push(
      '',
      `segment ${number + 1}: document ${segment.document}${where}${part}, ${segment.positions} positions`,
    );
    lines.push(await segmentText(dataset, source, segment, firstImage));
    firstImage += segment.images.length;
  }
  return lines.join('\n');
}

async function segmentText(dataset: Dataset, source: SourceId, segment: Segment, firstImage: number): Promise<string> {
  const { tokenizer } = dataset;
  let text = '';
  let image = 0;
  let run: number[] = [];
  const endRun = () => {
    text += tokenizer.decode(run);
    run = [];
  };
  for (const entry of segment.entries) {
    if (entry === IMAGE_ENTRY) {
      endRun();
      const name = await dataset.imageName(source, segment.images[image]!);
      text += `⟨image ${firstImage + image++}: ${name}⟩`;
    } else if (entry === tokenizer.endOfTextId) {
      endRun();
      text += '⟨end⟩';
    } else {
      run.push(entry);
    }
  }
  endRun();
  return text;
}
