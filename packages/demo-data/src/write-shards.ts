import { createHash } from 'node:crypto';
import { join } from 'node:path';
import type { SourceId } from '@weft/common';
import { TarWriter } from '@weft/data';
import { writeFileAtomically } from '@weft/files';

/** A shard is closed after this many bytes, at the end of a sample. */
const SHARD_BYTES = 4 * 1024 * 1024;

/** A shard below the data directory: source folder, file name, size and hash. */
export interface WrittenShard {
  readonly source: SourceId;
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

/** The members of one sample, extension and content, in the order they are written. */
export type SampleMembers = readonly (readonly [extension: string, content: string | Uint8Array])[];

/** Writes samples into numbered WebDataset shards, `<folder>/<source>/<prefix>-00000.tar` and so on. */
export async function writeTarShards(
  folder: string,
  source: SourceId,
  prefix: string,
  samples:
    | AsyncIterable<{ readonly key: string; readonly members: SampleMembers }>
    | Iterable<{ readonly key: string; readonly members: SampleMembers }>,
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

/** Writes objects into numbered `.jsonl` shards, one per line. */
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
    const content = Buffer.concat(lines);
    await writeFileAtomically(join(folder, source, name), content);
    written.push({ source, name, bytes, sha256: createHash('sha256').update(content).digest('hex') });
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
