import { WeftError } from '@weft/common';
import type { ByteCursor } from './byte-cursor.js';
import { memberName, parseTarHeader, TAR_BLOCK_BYTES, type TarHeader } from './tar-header.js';

/** A file inside a tar archive. */
export interface TarEntry {
  readonly name: string;
  /** Of its first byte in the archive. */
  readonly offset: number;
  readonly bytes: number;
}

/** Longer names and extension records are refused before memory is allocated for them. */
const LONGEST_EXTENSION_BYTES = 64 * 1024;

/**
 * Walks the files of a tar archive: ustar, with the long names and sizes of pax and GNU tar. When an entry is yielded the
 * cursor is at its first byte: the consumer may read up to `entry.bytes` from it.
 *
 * @param archive its name in error messages
 * @throws WeftError `corrupt_data`, naming archive, member and byte, for a wrong checksum, an impossible size or name, a
 * link or device, a member that exceeds the archive, a missing end mark, data after the end mark
 */
export async function* walkTar(cursor: ByteCursor, archive: string): AsyncGenerator<TarEntry, void, undefined> {
  let override: Override = {};
  for (;;) {
    const start = cursor.position;
    const block = await cursor.read(TAR_BLOCK_BYTES);
    if (block.length < TAR_BLOCK_BYTES) throw truncated(archive, start);
    if (start === 0 && block[0] === 0x1f && block[1] === 0x8b)
      throw new WeftError('corrupt_data', `${archive} is compressed with gzip`, {
        hint: 'unpack it with gunzip: shards are read by byte offset',
      });
    const parsed = parseTarHeader(block);
    if (parsed.kind === 'damaged') throw damaged(archive, start, parsed.reason);
    if (parsed.kind === 'empty') return checkEnd(cursor, archive, start);

    const { header } = parsed;
    if (isExtension(header.type)) {
      override = { ...override, ...(await readExtension(cursor, header, archive, start)) };
      continue;
    }
    const name = override.path ?? header.name;
    const bytes = override.bytes ?? header.bytes;
    override = {};
    const end = cursor.position + padded(bytes);
    if (header.type === '5') {
      checkName(name, archive, start);
    } else if (header.type === '0' || header.type === '7') {
      yield { name: checkName(name, archive, start), offset: start + TAR_BLOCK_BYTES, bytes };
      if (cursor.position > end)
        throw new WeftError('internal', `the reader of ${archive} read past the end of ${name}`);
    } else {
      throw damaged(archive, start, `${JSON.stringify(name)} is not a file (type ${JSON.stringify(header.type)})`);
    }
    if (!(await cursor.skip(end - cursor.position))) throw truncated(archive, start, name, bytes);
  }
}

/** Name and size from an extension record, for the member after it. */
interface Override {
  readonly path?: string;
  readonly bytes?: number;
}

/** pax records for the next member (`x`) or all (`g`), GNU long name (`L`) and long link name (`K`). */
function isExtension(type: string): boolean {
  return type === 'x' || type === 'g' || type === 'L' || type === 'K';
}

async function readExtension(cursor: ByteCursor, header: TarHeader, archive: string, start: number): Promise<Override> {
  if (header.bytes > LONGEST_EXTENSION_BYTES)
    throw damaged(archive, start, `an extension record claims ${header.bytes} bytes`);
  const content = Buffer.from(await cursor.read(header.bytes));
  const complete = await cursor.skip(padded(header.bytes) - header.bytes);
  if (content.length < header.bytes || !complete) throw truncated(archive, start);
  if (header.type === 'L') return { path: memberName(content).replace(/\0[\s\S]*$/, '') };
  if (header.type !== 'x') return {};
  const records = paxRecords(content);
  if (records === undefined) throw damaged(archive, start, 'its pax record is malformed');
  const path = records.get('path');
  const size = records.get('size');
  if (size !== undefined && !(/^\d+$/.test(size) && Number.isSafeInteger(Number(size))))
    throw damaged(archive, start, `its pax size is ${JSON.stringify(size)}`);
  return { ...(path === undefined ? {} : { path }), ...(size === undefined ? {} : { bytes: Number(size) }) };
}

/** Records of the form `<length> <key>=<value>\n`, where the length counts the whole record in bytes. */
function paxRecords(content: Buffer): Map<string, string> | undefined {
  const records = new Map<string, string>();
  let position = 0;
  while (position < content.length) {
    const space = content.indexOf(0x20, position);
    const digits = space === -1 ? '' : content.toString('latin1', position, space);
    const end = position + (/^\d{1,6}$/.test(digits) ? Number(digits) : 0);
    if (end <= space + 1 || end > content.length || content[end - 1] !== 0x0a) return undefined;
    const record = memberName(content.subarray(space + 1, end - 1));
    const equals = record.indexOf('=');
    if (equals === -1) return undefined;
    records.set(record.slice(0, equals), record.slice(equals + 1));
    position = end;
  }
  return records;
}

/** Refuses names that would leave the folder when the archive is unpacked. Returns the name without `./`. */
function checkName(name: string, archive: string, start: number): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused.
  const bad = name === '' || name.startsWith('/') || /[\u0000-\u001f\\\ufffd]/.test(name);
  if (bad || name.split('/').includes('..'))
    throw damaged(archive, start, `the member name ${JSON.stringify(name)} is not allowed`);
  return name.replace(/^(\.\/)+/, '');
}

/** An archive ends with two or more empty blocks. Anything else after them would be ignored, so it is an error. */
async function checkEnd(cursor: ByteCursor, archive: string, start: number): Promise<void> {
  let emptyBlocks = 1;
  for (;;) {
    const block = await cursor.read(TAR_BLOCK_BYTES);
    if (block.length === 0 && emptyBlocks >= 2) return;
    if (block.length < TAR_BLOCK_BYTES) throw truncated(archive, start);
    if (block.some((byte) => byte !== 0))
      throw damaged(archive, cursor.position - TAR_BLOCK_BYTES, 'there is data behind the end mark');
    emptyBlocks++;
  }
}

function padded(bytes: number): number {
  return Math.ceil(bytes / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
}

const HINT = 'replace the file with an intact copy, or remove it';

function damaged(archive: string, start: number, reason: string): WeftError {
  return new WeftError('corrupt_data', `the tar archive ${archive} is damaged at byte ${start}: ${reason}`, {
    hint: HINT,
  });
}

function truncated(archive: string, start: number, name?: string, bytes?: number): WeftError {
  const where = name === undefined ? `at byte ${start}` : `inside ${name}, which claims ${bytes} bytes`;
  return new WeftError('corrupt_data', `the tar archive ${archive} is cut off ${where}`, { hint: HINT });
}
