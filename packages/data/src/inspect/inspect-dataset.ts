import { join } from 'node:path';
import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import type { DataConfig, ModelConfig } from '@weft/config';
import { Dataset } from '../dataset/dataset.js';
import { sha256OfFile } from '../files.js';
import { REINDEX, tableFile } from '../index/manifest.js';
import { TABLES } from '../index/records.js';
import type { PackingLimits } from '../packing/piece.js';
import type { OnProgress } from '../progress.js';
import { describeSequence } from './describe-sequence.js';

export interface SourceSummary {
  readonly shards: number;
  /** Of all shards together. */
  readonly shardBytes: number;
  readonly documents: number;
  readonly pieces: number;
  readonly sequences: number;
  readonly textTokens: number;
  readonly images: number;
  /** Used positions among all positions, 0 to 1; 0 for an empty source. */
  readonly fillRatio: number;
}

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
  /** The sequence that was asked for, as lines of text. */
  readonly sequence: string | undefined;
}

/**
 * What a dataset holds, and on request whether its bytes are still the ones that were indexed, and what one sequence
 * says.
 *
 * @param options.verify compare the SHA-256 of every shard and table.
 * @param options.show a sequence to describe.
 * @throws like `Dataset.open`; `corrupt_data` naming the first file whose hash differs.
 */
export async function inspectDataset(options: {
  readonly data: DataConfig;
  readonly model: ModelConfig;
  readonly verify?: boolean;
  readonly show?: { readonly source: SourceId; readonly sequence: number };
  readonly onProgress?: OnProgress;
}): Promise<DatasetSummary> {
  const { data, model, verify = false, show } = options;
  const dataset = await Dataset.open({ data, model });
  try {
    if (verify) await verifyHashes(dataset, data.directory, options.onProgress ?? (() => undefined));
    return {
      directory: dataset.directory,
      identity: dataset.identity,
      tokenizer: dataset.tokenizer.name,
      limits: dataset.limits,
      sources: mapSources(dataset.manifest.sources, (_, source) => summarise(dataset, source)),
      isVerified: verify,
      sequence: show === undefined ? undefined : await describeSequence(dataset, show.source, show.sequence),
    };
  } finally {
    await dataset.close();
  }
}

function summarise(dataset: Dataset, source: SourceId): SourceSummary {
  const { shards, documents, pieces, sequences, textTokens, images, positions } = ofSource(
    dataset.manifest.sources,
    source,
  );
  const available = sequences * dataset.limits.sequenceLength;
  return {
    shards: shards.length,
    shardBytes: shards.reduce((sum, { bytes }) => sum + bytes, 0),
    documents,
    pieces,
    sequences,
    textTokens,
    images,
    fillRatio: available === 0 ? 0 : positions / available,
  };
}

async function verifyHashes(dataset: Dataset, dataDirectory: string, onProgress: OnProgress): Promise<void> {
  const files = Object.entries(dataset.manifest.sources).flatMap(([source, { shards, files: tables }]) => {
    return [
      ...shards.map(({ name, bytes, sha256 }) => ({ path: join(dataDirectory, source, name), bytes, sha256 })),
      ...TABLES.map((table) => ({ path: join(dataset.directory, tableFile(source, table)), ...tables[table] })),
    ];
  });
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  let done = 0;
  for (const { path, sha256 } of files) {
    onProgress({ phase: 'verify', what: path, done, total, unit: 'bytes' });
    const found = await sha256OfFile(path, (bytes) => {
      done += bytes;
    });
    if (found !== sha256)
      throw new WeftError(
        'corrupt_data',
        `${path} has changed: its SHA-256 is ${found}, the data index says ${sha256}`,
        {
          cure: `restore the file, or ${REINDEX}`,
        },
      );
  }
  onProgress({ phase: 'verify', what: dataset.directory, done, total, unit: 'bytes' });
}
