import type { SourceId } from '@weft/common';
import type { DatasetSettings } from '@weft/config';
import { joinPath } from '@weft/files';
import type { LeftOut } from '../formats/left-out.js';
import { ShardReader } from '../formats/source-shards.js';
import { BadSamples } from './bad-samples.js';
import { DocumentNamesWriter } from './document-names.js';
import type { IndexedShard, SourcePart } from './manifest.js';
import type { PackingLimits } from './packed-sequence.js';
import { SequencePacker } from './packing.js';
import { leftOutOf } from './shard-indexer.js';
import { type PartEvent, type PartReader, type PartSegment, receivedError, type ShardPart } from './shard-part.js';
import { SourceTablesWriter } from './source-tables-writer.js';

/** What was packed of a dataset, with its shards and samples of these: see `ShardSamples`. */
export interface PackedSource {
  readonly part: Omit<SourcePart, 'version'>;
  readonly shards: readonly IndexedShard[];
  readonly samples: readonly string[];
}

/** What an index holds of a dataset that is packed on. */
export interface PackedBefore {
  readonly shards: number;
  readonly documents: number;
}

/**
 * Packs the parts of the shards of one dataset into sequences, in the order of the shards, and writes its tables into
 * `folder`. Memory use is bounded: the open sequences, the write buffers and a MiB of a part.
 *
 * @throws WeftError what is wrong with the first bad shard; `corrupt_data` when too many samples are bad
 */
export async function packSource(options: {
  readonly source: SourceId;
  readonly settings: DatasetSettings;
  /** What reads the dataset: of documents beside whose shards images lie, to know which of these nobody names. */
  readonly reader: Parameters<typeof ShardReader.open>[0];
  /** Where the tables are written. */
  readonly folder: string;
  readonly limits: PackingLimits;
  /** The version of the index that it is packed for. */
  readonly version: number;
  /** What is not packed again: its first shards. */
  readonly before: PackedBefore;
  readonly parts: PartReader;
  /** The part of a shard, by its number. */
  readonly take: (number: number) => Promise<ShardPart>;
  /** Gets every member that is not read, every empty document and every bad sample. */
  readonly onLeftOut: (what: LeftOut) => void;
}): Promise<PackedSource> {
  const { source, settings, limits, version, before, parts, take, onLeftOut } = options;
  const { folder: directory, shards: names, kind } = options.reader;
  const tables = await SourceTablesWriter.create(options.folder, source, version);
  const documentNames = await DocumentNamesWriter.create(options.folder, source, version);
  const bad = new BadSamples(source, settings);
  try {
    const packer = new SequencePacker<PartSegment>(limits, (segments) => tables.addSequence(segments));
    // Every pair is a sequence of its own.
    const add = (segment: PartSegment) => (limits.pairs ? tables.addSequence([segment]) : packer.add(segment));
    const shards: IndexedShard[] = [];
    const samples: string[] = [];
    const used = new Set<string>();
    let documents = before.documents;
    for (const [number, name] of names.entries()) {
      if (number < before.shards) continue;
      const part = await take(number);
      const onEvent = (event: PartEvent) => {
        if (event.kind === 'good') bad.countGood(event.count);
        else if (event.kind === 'leftOut') onLeftOut(event.what);
        else if (event.kind === 'keys') for (const key of event.keys) documentNames.add({ shard: number, key });
        else if (event.kind === 'used') for (const image of event.names) used.add(image);
        else {
          const problem = receivedError(event.problem);
          const [reason, detail] = bad.leaveOut({ key: event.key, problem }, joinPath(directory, name));
          onLeftOut(leftOutOf(source, name, event.key, reason, detail));
        }
      };
      for await (const chunk of parts.read(part)) {
        for (const each of chunk) {
          if ('kind' in each) onEvent(each);
          else {
            // A part may have been read when its shard had another number; the images of pairs lie in their own shard.
            const images =
              kind === 'captioned' ? each.images.map((image) => ({ ...image, shard: number })) : each.images;
            add({ ...each, images, document: documents + each.document });
          }
        }
        await tables.flush();
        await documentNames.flush();
      }
      documents += part.documents;
      shards.push({ name, bytes: part.bytes, sha256: part.sha256 });
      samples.push(part.sample);
    }
    bad.checkShare();
    packer.finish();
    const packed = new Set(names.slice(before.shards));
    await leaveUnused(options.reader, source, used, limits, (what) => {
      if (packed.has(what.shard ?? '')) onLeftOut(what);
    });
    await documentNames.finish();
    const part = { documents: documents - before.documents, ...(await tables.finish()) };
    return { part, shards, samples };
  } catch (thrown) {
    await tables.abandon();
    await documentNames.abandon();
    throw thrown;
  }
}

async function leaveUnused(
  options: Parameters<typeof ShardReader.open>[0],
  source: SourceId,
  used: ReadonlySet<string>,
  { pairs }: PackingLimits,
  onLeftOut: (what: LeftOut) => void,
): Promise<void> {
  if (pairs && options.kind !== 'captioned') return;
  const reader = await ShardReader.open(options);
  reader.use(used);
  for (const { name, ...rest } of reader.unused()) onLeftOut({ name: `${source}/${name}`, ...rest, key: name });
}
