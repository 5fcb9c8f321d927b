import { createHash, randomBytes } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { WeftError } from '@weft/common';

/** The SHA-256 of a file as 64 hexadecimal digits, read in pieces. */
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

export function isMissing(thrown: unknown): boolean {
  return thrown instanceof Error && 'code' in thrown && (thrown.code === 'ENOENT' || thrown.code === 'ENOTDIR');
}

/**
 * Reads exactly `bytes` bytes at `offset`.
 *
 * @throws `corrupt_data` naming `path` when the file ends before.
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

/** Writes a file that is either wholly there under its name, or not at all. */
export async function writeFileAtomically(path: string, content: string | Uint8Array): Promise<void> {
  const unfinished = unfinishedName(path);
  try {
    const handle = await open(unfinished, 'wx');
    try {
      await handle.writeFile(content);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(unfinished, path);
  } catch (thrown) {
    await rm(unfinished, { force: true });
    throw thrown;
  }
}

/**
 * Lets `build` fill a fresh folder beside `path`, then gives it the name `path`, in place of what was there. When
 * `build` throws, the folder is removed and whatever was at `path` stays.
 */
export async function buildFolder<T>(path: string, build: (folder: string) => Promise<T>): Promise<T> {
  return withUnfinishedFolder(path, async (unfinished) => {
    const result = await build(unfinished);
    const replaced = unfinishedName(path);
    const hadOne = await renameIfThere(path, replaced);
    await rename(unfinished, path);
    if (hadOne) await rm(replaced, { recursive: true, force: true });
    return result;
  });
}

/**
 * Lends a fresh hidden folder beside `path` and removes what is left of it, whatever happens. One that a killed
 * process left behind is removed by the next call a day later.
 */
export async function withUnfinishedFolder<T>(path: string, use: (folder: string) => Promise<T>): Promise<T> {
  await mkdir(dirname(path), { recursive: true });
  await removeAbandoned(dirname(path));
  const unfinished = unfinishedName(path);
  await mkdir(unfinished);
  try {
    return await use(unfinished);
  } finally {
    await rm(unfinished, { recursive: true, force: true });
  }
}

const UNFINISHED = /\.unfinished-[0-9a-f]{12}$/;
const ABANDONED_AFTER_MS = 24 * 3600 * 1000;

/** A hidden name beside `path` that no reader takes for a shard or an index. */
function unfinishedName(path: string): string {
  return join(dirname(path), `.${path.slice(dirname(path).length + 1)}.unfinished-${randomBytes(6).toString('hex')}`);
}

/** Removes what processes left behind that were killed while they wrote. */
async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!UNFINISHED.test(name)) continue;
    const path = join(folder, name);
    const age = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now());
    if (age > ABANDONED_AFTER_MS) await rm(path, { recursive: true, force: true });
  }
}

async function renameIfThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (thrown) {
    if (isMissing(thrown)) return false;
    throw thrown;
  }
}
