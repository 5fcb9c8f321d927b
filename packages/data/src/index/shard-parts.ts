import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { mapSources, ofSource, type PerSource, type SourceId, WeftError } from '@weft/common';
import { datasetSettings } from '@weft/config';
import { joinPath, withTemporaryDirectory } from '@weft/files';
import { holdsImages } from '../formats/source-images.js';
import { datasetFolder } from './manifest.js';
import type { EntryBytes } from './records.js';
import type { IndexRun, ShardTask } from './shard-indexer.js';
import { PartReader, type ShardPart } from './shard-part.js';
import { openShardProcess, SHARD_PROCESS } from './shard-process.js';
import { openUnitReader, ShardQueue, type UnitReader } from './shard-queue.js';
import { partKey, UnfinishedIndex } from './unfinished-index.js';

/** Less is read in this process: others take longer to start. */
const FEW_BYTES = 16 * 1024 * 1024;
const FEW_SHARDS = 1000;

/** How shards are read. */
export interface ReadingOptions {
  /** Processes that read at a time; 0 reads in this one. Default: one for each core, 0 for few shards. */
  readonly processes?: number;
  /** The compiled module of those processes. */
  readonly processModule?: URL;
}

/** What was read of the shards of an index. */
export interface ShardParts {
  readonly reader: PartReader;
  /** The part of a shard, once it is there. Each can be asked for once. @throws WeftError what is wrong with the shard */
  readonly take: (source: SourceId, number: number) => Promise<ShardPart>;
}

/**
 * Reads all shards, several at a time, while `use` takes their parts. What processes have read outlives them: where they are
 * killed, or a shard is refused, the next call for the same index reads only the others.
 *
 * @param options.index the folder of the finished index
 * @param options.onRead called when a shard has been read, with how many have
 */
export async function withShardParts<T>(
  options: ReadingOptions & {
    readonly index: string;
    readonly run: IndexRun;
    /** How many shards of each source, its first ones, are not read, because the index holds them. */
    readonly before: PerSource<number>;
    readonly entryBytes: EntryBytes;
    /** What the parts depend on, beside the settings of `run` that are a dataset's own. */
    readonly madeWith: unknown;
    readonly onRead: (source: SourceId, name: string, progress: ReadProgress) => void;
  },
  use: (parts: ShardParts) => Promise<T>,
): Promise<T> {
  const { index, run, before, madeWith, processModule = SHARD_PROCESS } = options;
  const shards = Object.entries(run.shards).flatMap(([source, all]) => all.slice(ofSource(before, source)));
  const isSmall = shards.length < FEW_SHARDS && bytesOf(shards) < FEW_BYTES;
  const processes = options.processes ?? (isSmall ? 0 : availableParallelism());
  if (processes === 0)
    return await withTemporaryDirectory(index, (folder) => {
      const openReader = (file: number) => openUnitReader(run, folder, file);
      return useParts({ ...options, folder, openReader, readers: 1, firstFile: 0, found: new Map() }, use);
    });
  const unfinished = await UnfinishedIndex.open(index, { madeWith, ...dependencies(run) });
  try {
    const { folder, found, nextFile: firstFile } = unfinished;
    const openReader = (file: number) => openShardProcess(processModule, run, folder, file);
    const result = await useParts({ ...options, folder, openReader, readers: processes, firstFile, found }, use);
    await unfinished.remove();
    return result;
  } finally {
    await unfinished.close();
  }
}

/** How much has been read, of all. */
export interface ReadProgress {
  readonly shards: number;
  readonly bytes: number;
  readonly totalShards: number;
  readonly totalBytes: number;
}

const bytesOf = (shards: readonly { readonly bytes: number }[]) => shards.reduce((sum, { bytes }) => sum + bytes, 0);

/** What the parts of each source depend on: how it is read, and the images that lie beside its documents. */
function dependencies({ config: { data }, shards }: IndexRun) {
  return {
    chatTemplate: data.chatTemplate,
    sources: mapSources(data.sources, (kind, source) => {
      const images = ofSource(shards, source).filter(({ name }) => holdsImages(name));
      const hash = createHash('sha256');
      // The number of a shard is its place among all, so that any other shard matters too.
      for (const { name } of kind === 'captioned' || kind === 'text' ? [] : ofSource(shards, source))
        hash.update(`${name}\n`);
      for (const { name, version } of kind === 'captioned' || kind === 'text' ? [] : images)
        hash.update(`${name} ${version}\n`);
      return { kind, folder: datasetFolder(data, source), ...settingsOf(data, source), beside: hash.digest('hex') };
    }),
  };
}

/** What is set for a dataset and changes what is read of it. */
function settingsOf(data: IndexRun['config']['data'], source: SourceId) {
  const {
    directory: _,
    source: __,
    weight: ___,
    epochs: ____,
    shards: _____,
    ...settings
  } = datasetSettings(data, source);
  return settings;
}

async function useParts<T>(
  options: Pick<Parameters<typeof withShardParts>[0], 'run' | 'before' | 'entryBytes' | 'onRead'> & {
    readonly folder: string;
    readonly openReader: (file: number) => Promise<UnitReader>;
    readonly readers: number;
    readonly firstFile: number;
    readonly found: ReadonlyMap<string, ShardPart>;
  },
  use: (parts: ShardParts) => Promise<T>,
): Promise<T> {
  const { run, before, folder, found, onRead } = options;
  const reader = new PartReader(folder, options.entryBytes);
  const known = new Map<string, ShardPart>();
  const first = new Map<SourceId, number>();
  const tasks: (ShardTask | undefined)[] = [];
  for (const [source, shards] of Object.entries(run.shards)) {
    first.set(source, tasks.length);
    for (const [number, { name, bytes, version }] of shards.entries()) {
      if (number < ofSource(before, source)) {
        tasks.push(undefined);
        continue;
      }
      const part = found.get(partKey(source, name));
      const isUsable =
        part !== undefined && version !== null && part.version === version && (await reader.isIntact(part));
      if (isUsable) known.set(`${source} ${number}`, part);
      tasks.push(isUsable ? undefined : { source, number, bytes });
    }
  }
  const all = Object.entries(run.shards).flatMap(([source, each]) => each.slice(ofSource(before, source)));
  const [totalShards, totalBytes] = [all.length, bytesOf(all)];
  let shards = known.size;
  let bytes = [...known.values()].reduce((sum, part) => sum + part.bytes, 0);
  const nameOf = ({ source, number }: ShardTask) => ofSource(run.shards, source)[number]?.name ?? '';
  const queue = new ShardQueue({
    ...{ tasks, readers: options.readers, firstFile: options.firstFile, openReader: options.openReader },
    describe: (task) => `the shard ${joinPath(datasetFolder(run.config.data, task.source), nameOf(task))}`,
    onFinished: (task) => {
      shards++;
      bytes += task.bytes;
      onRead(task.source, nameOf(task), { shards, bytes, totalShards, totalBytes });
    },
  });
  const take = async (source: SourceId, number: number) => {
    const part = known.get(`${source} ${number}`);
    if (part !== undefined) return part;
    const index = first.get(source);
    if (index === undefined) throw new WeftError('internal', `there are no shards of ${source}`);
    return await queue.take(index + number);
  };
  try {
    return await use({ reader, take });
  } finally {
    await queue.close();
    await reader.close();
  }
}
