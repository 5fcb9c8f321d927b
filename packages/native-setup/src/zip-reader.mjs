// A small reader of zip archives (PKWARE APPNOTE 6.3): the directory at the end, then single files streamed through
// zlib. It knows what wheels use (stored and deflated entries under 4 GiB) and refuses everything else.

import { createReadStream, createWriteStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw } from 'node:zlib';

/**
 * @typedef {object} ZipEntry
 * @property {string} name with forward slashes, never leading out of the folder it is unpacked to
 * @property {boolean} deflated
 * @property {number} crc CRC-32 of the unpacked bytes
 * @property {number} compressedBytes
 * @property {number} bytes unpacked
 * @property {number} headerOffset of the local header
 * @property {number} mode Unix permissions, 0 where the archive has none
 */

const DIRECTORY_END = { signature: 0x06054b50, bytes: 22, commentBytes: 0xffff };
const DIRECTORY_ENTRY = { signature: 0x02014b50, bytes: 46 };
const LOCAL_HEADER = { signature: 0x04034b50, bytes: 30 };
const SYMBOLIC_LINK = 0o120000;

/**
 * Reads the directory of an archive.
 *
 * @param {string} path
 * @returns {Promise<ZipEntry[]>} in the order of their offsets
 * @throws {Error} naming the file when it is no archive, is cut off, or holds something that must not be unpacked
 */
export async function readZipDirectory(path) {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    const tail = await readAt(file, Math.max(0, size - DIRECTORY_END.bytes - DIRECTORY_END.commentBytes), size, path);
    const end = findDirectoryEnd(tail);
    if (end === undefined) throw new Error(`${path} is not a zip archive, or is cut off`);
    const count = end.readUInt16LE(10);
    const directoryBytes = end.readUInt32LE(12);
    const directoryOffset = end.readUInt32LE(16);
    if (count === 0xffff || directoryOffset === 0xffffffff)
      throw new Error(`${path} is a zip64 archive: not supported`);
    if (directoryOffset + directoryBytes > size) throw new Error(`${path} is cut off`);
    const directory = await readAt(file, directoryOffset, directoryOffset + directoryBytes, path);
    const entries = [...parseDirectory(directory, count, path)].sort((a, b) => a.headerOffset - b.headerOffset);
    rejectOverlaps(entries, directoryOffset, path);
    return entries;
  } finally {
    await file.close();
  }
}

/**
 * Unpacks one file. The destination must not exist; it is left half-written when this throws.
 *
 * @param {string} path of the archive
 * @param {ZipEntry} entry
 * @param {string} destination
 * @param {(bytes: number) => void} [onBytes] called with the number of bytes written since the last call
 * @returns {Promise<void>}
 * @throws {Error} naming archive and entry when size or CRC are not what the directory says
 */
export async function unpackEntry(path, entry, destination, onBytes) {
  const start = await dataOffset(path, entry);
  const wrong = (/** @type {string} */ what) => new Error(`${path}: ${entry.name} ${what}: the archive is damaged`);
  let bytes = 0;
  let crc = 0;
  const check = new Transform({
    transform(chunk, _encoding, done) {
      bytes += chunk.length;
      if (bytes > entry.bytes) return done(wrong(`holds more than ${entry.bytes} bytes`));
      crc = crc32(chunk, crc);
      onBytes?.(chunk.length);
      done(null, chunk);
    },
  });
  const sink = createWriteStream(destination, { flags: 'wx', mode: (entry.mode & 0o111) === 0 ? 0o644 : 0o755 });
  if (entry.compressedBytes === 0) {
    await pipeline([], check, sink);
  } else {
    const source = createReadStream(path, {
      start,
      end: start + entry.compressedBytes - 1,
      highWaterMark: 1 << 18,
    });
    if (entry.deflated) await pipeline(source, createInflateRaw({ chunkSize: 1 << 18 }), check, sink);
    else await pipeline(source, check, sink);
  }
  if (bytes !== entry.bytes) throw wrong(`holds ${bytes} bytes, not ${entry.bytes}`);
  if (crc !== entry.crc) throw wrong('has another checksum than the directory says');
}

/** @param {Buffer} tail */
function findDirectoryEnd(tail) {
  for (let at = tail.length - DIRECTORY_END.bytes; at >= 0; at--) {
    const commentBytes = tail.length - at - DIRECTORY_END.bytes;
    if (tail.readUInt32LE(at) === DIRECTORY_END.signature && tail.readUInt16LE(at + 20) === commentBytes) {
      return tail.subarray(at);
    }
  }
  return undefined;
}

/**
 * @param {Buffer} directory
 * @param {number} count
 * @param {string} path
 * @returns {Generator<ZipEntry>}
 */
function* parseDirectory(directory, count, path) {
  const names = new Set();
  let at = 0;
  for (let index = 0; index < count; index++) {
    if (at + DIRECTORY_ENTRY.bytes > directory.length || directory.readUInt32LE(at) !== DIRECTORY_ENTRY.signature) {
      throw new Error(`${path}: entry ${index} of the zip directory is damaged`);
    }
    const flags = directory.readUInt16LE(at + 8);
    const method = directory.readUInt16LE(at + 10);
    const nameEnd = at + DIRECTORY_ENTRY.bytes + directory.readUInt16LE(at + 28);
    const name = directory.toString('utf8', at + DIRECTORY_ENTRY.bytes, nameEnd);
    const unixMode = directory.readUInt16LE(at + 40);
    const entry = {
      name,
      deflated: method === 8,
      crc: directory.readUInt32LE(at + 16),
      compressedBytes: directory.readUInt32LE(at + 20),
      bytes: directory.readUInt32LE(at + 24),
      headerOffset: directory.readUInt32LE(at + 42),
      mode: unixMode & 0o7777,
    };
    if (!isSafe(name)) throw new Error(`${path}: the entry ${JSON.stringify(name)} leads out of its folder`);
    if (names.has(name)) throw new Error(`${path}: the entry ${name} is there twice`);
    if ((unixMode & 0o170000) === SYMBOLIC_LINK) throw new Error(`${path}: the entry ${name} is a symbolic link`);
    if ((flags & 1) !== 0) throw new Error(`${path}: the entry ${name} is encrypted`);
    if (method !== 0 && method !== 8) throw new Error(`${path}: the entry ${name} is packed by method ${method}`);
    if (entry.bytes === 0xffffffff || entry.headerOffset === 0xffffffff) {
      throw new Error(`${path}: the entry ${name} is larger than 4 GiB: not supported`);
    }
    names.add(name);
    yield entry;
    at = nameEnd + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
}

/** @param {string} name */
function isSafe(name) {
  if (name === '' || name.startsWith('/') || /[\\\0]|^[a-zA-Z]:/.test(name)) return false;
  return name.split('/').every((part) => part !== '..' && part !== '.');
}

/**
 * @param {readonly ZipEntry[]} entries in file order
 * @param {number} directoryOffset
 * @param {string} path
 */
function rejectOverlaps(entries, directoryOffset, path) {
  for (const [index, entry] of entries.entries()) {
    const next = entries[index + 1]?.headerOffset ?? directoryOffset;
    if (entry.headerOffset + LOCAL_HEADER.bytes + Buffer.byteLength(entry.name) + entry.compressedBytes > next) {
      throw new Error(`${path}: the entry ${entry.name} overlaps what follows it`);
    }
  }
}

/**
 * @param {string} path
 * @param {ZipEntry} entry
 * @returns {Promise<number>} where the packed bytes begin
 */
async function dataOffset(path, entry) {
  const file = await open(path);
  try {
    const fixedEnd = entry.headerOffset + LOCAL_HEADER.bytes;
    const header = await readAt(file, entry.headerOffset, fixedEnd, path);
    const nameBytes = header.readUInt16LE(26);
    const name = await readAt(file, fixedEnd, fixedEnd + nameBytes, path);
    if (header.readUInt32LE(0) !== LOCAL_HEADER.signature || name.toString('utf8') !== entry.name) {
      throw new Error(`${path}: the header of ${entry.name} is damaged`);
    }
    return fixedEnd + nameBytes + header.readUInt16LE(28);
  } finally {
    await file.close();
  }
}

/**
 * @param {import('node:fs/promises').FileHandle} file
 * @param {number} start
 * @param {number} end exclusive
 * @param {string} path
 */
async function readAt(file, start, end, path) {
  const buffer = Buffer.alloc(end - start);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
  if (bytesRead !== buffer.length) throw new Error(`${path} is cut off`);
  return buffer;
}
