import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { systemErrorCode, WeftError } from '@weft/common';
import type { BlobContent } from './blob-store.js';
import { isMissing } from './read-bytes.js';

/** Linux reads and writes at most 2 GiB at a time. */
export const MAX_TRANSFER_BYTES = 2 ** 30;

/**
 * Replaces a file whole: a reader, and a machine that loses power, sees the old file or the new one. Resolves when the
 * new one is durable, its name included. The folder must exist.
 *
 * @throws the error of the operating system; the old file is then untouched and nothing is left beside it.
 */
export async function writeFileAtomically(path: string, content: BlobContent): Promise<void> {
  const unfinished = unfinishedName(path);
  try {
    const file = await open(unfinished, 'wx');
    try {
      for await (const chunk of chunksOf(content)) await writeFully(file, chunk);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(unfinished, path);
  } catch (thrown) {
    await rm(unfinished, { force: true }).catch(() => {});
    throw thrown;
  }
  await syncDirectory(dirname(path));
}

/** Makes the names in a folder durable: a new or renamed file survives a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/**
 * Makes a folder and those above it so that their entries survive a crash of the machine too. Each is tried twice, because
 * another may make the one above meanwhile: Node's own recursion never ends where a file system denies a folder that is
 * there, as procfs does.
 *
 * @throws WeftError `failed_precondition` where a file is in the way, `invalid_argument` where the file system takes no folders;
 *   the error of the operating system for anything else
 */
export async function makeDirectory(path: string): Promise<void> {
  try {
    await mkdir(path);
  } catch (thrown) {
    if (await isDirectory(path)) return;
    if (systemErrorCode(thrown) === 'EEXIST' || systemErrorCode(thrown) === 'ENOTDIR') throw fileInTheWay(path, thrown);
    if (systemErrorCode(thrown) !== 'ENOENT' || dirname(path) === path) throw thrown;
    await makeDirectory(dirname(path));
    await mkdir(path).catch(async (again: unknown) => {
      if (await isDirectory(path)) return;
      if (systemErrorCode(again) !== 'ENOENT') throw again;
      throw new WeftError('invalid_argument', `${path} cannot be made: its file system takes no folders`, {
        cause: again,
        hint: 'choose another folder, for instance with --home',
      });
    });
  }
  await syncDirectory(dirname(path));
}

const fileInTheWay = (path: string, cause: unknown) =>
  systemErrorCode(cause) === 'EEXIST'
    ? new WeftError('failed_precondition', `${path} is a file, where a folder is to be`, {
        cause,
        hint: 'rename or remove the file',
      })
    : new WeftError('failed_precondition', `${path} cannot be made: a part of this path is a file`, { cause });

const isDirectory = (path: string) =>
  stat(path).then(
    (status) => status.isDirectory(),
    () => false,
  );

/**
 * Lets `build` fill a fresh folder beside `path`, then gives it the name `path`, in place of what was there. When
 * `build` throws, the folder is removed and whatever was at `path` stays.
 */
export async function buildDirectory<T>(path: string, build: (directory: string) => Promise<T>): Promise<T> {
  return withTemporaryDirectory(path, async (unfinished) => {
    const result = await build(unfinished);
    const replaced = unfinishedName(path);
    const hadOne = await renameIfThere(path, replaced);
    await rename(unfinished, path);
    await syncDirectory(dirname(path));
    if (hadOne) await rm(replaced, { recursive: true, force: true });
    return result;
  });
}

/**
 * Lends a fresh hidden folder beside `path` and removes what is left of it, whatever happens. One that a killed
 * process left behind is removed by the next call a day later.
 */
export async function withTemporaryDirectory<T>(path: string, use: (directory: string) => Promise<T>): Promise<T> {
  await makeDirectory(dirname(path));
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

/** A hidden name beside `path` that no reader takes for a finished file. */
function unfinishedName(path: string): string {
  return join(dirname(path), `.${basename(path)}.unfinished-${randomBytes(6).toString('hex')}`);
}

/** Removes what processes left behind that were killed while they wrote. */
async function removeAbandoned(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!UNFINISHED.test(name)) continue;
    const path = join(folder, name);
    const ageMs = Date.now() - ((await stat(path).catch(() => undefined))?.mtimeMs ?? Date.now());
    if (ageMs > ABANDONED_AFTER_MS) await rm(path, { recursive: true, force: true });
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

function chunksOf(content: BlobContent): Iterable<Uint8Array> | AsyncIterable<Uint8Array> {
  if (typeof content === 'string') return [Buffer.from(content)];
  return content instanceof Uint8Array ? [content] : content;
}

async function writeFully(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let written = 0; written < chunk.length; ) {
    const bytes = Math.min(MAX_TRANSFER_BYTES, chunk.length - written);
    written += (await file.write(chunk, written, bytes)).bytesWritten;
  }
}
