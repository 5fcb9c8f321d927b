import { join } from 'node:path';
import type { SourceId } from '@weft/common';
import type { IndexedShard } from '../index/manifest.js';
import { TableWriter } from '../index/table-writer.js';
import { TarWriter } from '../tar/tar-writer.js';

/** A shard is full after this many bytes, as soon as its last sample is complete. */
const SHARD_BYTES = 4 * 1024 * 1024;

/** A shard that was written: its place below the data directory, its size and hash. */
export interface WrittenShard extends IndexedShard {
  readonly source: SourceId;
}

/** The members of one sample: extension and content. They are written in this order. */
export type SampleMembers = readonly (readonly [extension: string, content: string | Uint8Array])[];

/** Writes samples into a numbered row of WebDataset shards. */
export async function writeTarShards(
  folder: string,
  source: SourceId,
  prefix: string,
  samples: AsyncIterable<{ readonly key: string; readonly members: SampleMembers }>,
): Promise<WrittenShard[]> {
  const written: WrittenShard[] = [];
  let name = '';
  let writer: TarWriter | undefined;
  const finish = async () => {
    if (writer !== undefined) written.push({ source, name, ...(await writer.finish()) });
    writer = undefined;
  };
  try {
    for await (const { key, members } of samples) {
      if (writer === undefined) {
        name = shardName(prefix, written.length, 'tar');
        writer = await TarWriter.create(join(folder, source, name));
      }
      for (const [extension, content] of members) await writer.add(`${key}.${extension}`, Buffer.from(content));
      if (writer.bytes >= SHARD_BYTES) await finish();
    }
    await finish();
    return written;
  } catch (thrown) {
    await writer?.abandon();
    throw thrown;
  }
}

/** Writes one JSON object per line into a numbered row of `.jsonl` shards. */
export async function writeJsonLineShards(
  folder: string,
  source: SourceId,
  prefix: string,
  objects: Iterable<object>,
): Promise<WrittenShard[]> {
  const written: WrittenShard[] = [];
  let lines: Buffer[] = [];
  let bytes = 0;
  const finish = async () => {
    const name = shardName(prefix, written.length, 'jsonl');
    const writer = await TableWriter.create(join(folder, source, name));
    for (const line of lines) writer.append(line.length, (to, at) => line.copy(to, at));
    written.push({ source, name, ...(await writer.finish()) });
    lines = [];
    bytes = 0;
  };
  for (const object of objects) {
    const line = Buffer.from(`${JSON.stringify(object)}\n`);
    lines.push(line);
    bytes += line.length;
    if (bytes >= SHARD_BYTES) await finish();
  }
  if (lines.length > 0) await finish();
  return written;
}

function shardName(prefix: string, number: number, extension: string): string {
  return `${prefix}-${String(number).padStart(5, '0')}.${extension}`;
}
