import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { systemErrorCode, WeftError } from '@weft/common';

/**
 * The SHA-256 of a file, 64 hexadecimal digits. The file is read as a stream.
 *
 * @param onBytes called with the size of every chunk read
 */
export async function sha256OfFile(path: string, onBytes?: (bytes: number) => void): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    hash.update(chunk as Buffer);
    onBytes?.((chunk as Buffer).length);
  }
  return hash.digest('hex');
}

/** The size of a regular file in bytes; `undefined` when there is none. */
export async function fileBytes(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path);
    return found.isFile() ? found.size : undefined;
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw WeftError.from(thrown);
  }
}

/** Whether an error of the operating system says that there is no such file or folder. */
export function isMissing(thrown: unknown): boolean {
  const code = systemErrorCode(thrown);
  return code === 'ENOENT' || code === 'ENOTDIR';
}

/**
 * What a file holds right before the byte `end`, at most `mostBytes` of it, as Latin-1, because the first byte may be in the middle
 * of a character. Empty without a file.
 */
export async function readBefore(path: string, end: number, mostBytes: number): Promise<string> {
  const file = await open(path).catch((thrown: unknown) => {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  });
  if (file === undefined) return '';
  try {
    const start = Math.max(0, end - mostBytes);
    const { buffer, bytesRead } = await file.read(Buffer.alloc(end - start), 0, end - start, start);
    return buffer.toString('latin1', 0, bytesRead);
  } finally {
    await file.close();
  }
}

/**
 * Reads exactly `bytes` bytes at `offset`.
 *
 * @param path for the error message
 * @throws WeftError `corrupt_data` naming `path` when the file ends before
 */
export async function readExactly(handle: FileHandle, path: string, offset: number, bytes: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(bytes);
  let filled = 0;
  while (filled < bytes) {
    const { bytesRead } = await handle.read(buffer, filled, bytes - filled, offset + filled);
    if (bytesRead === 0)
      throw new WeftError(
        'corrupt_data',
        `${path} ends at byte ${offset + filled}, where ${bytes - filled} more follow`,
      );
    filled += bytesRead;
  }
  return buffer;
}
