import { createHash, randomBytes } from 'node:crypto';
import { type FileHandle, lstat, mkdir, open, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { SerialQueue, systemErrorCode, WeftError } from '@weft/common';
import { isMissing } from '@weft/files';
import { BlockClaims, removeAbandonedClaim, removeAbandonedOwners } from './block-claims.js';

/** When it grows over its bound, so much of the bound stays. */
const KEPT_SHARE = 0.9;
/** Other processes write into the same folder: it is counted anew after each has written this share of the bound. */
const RECOUNT_SHARE = 1 / 64;
/** A block that was read is marked as such at most this often. */
const TOUCH_AFTER_MS = 60_000;
/** A block that a killed process left unfinished is removed after this. */
const ABANDONED_AFTER_MS = 3600_000;

/** Nothing of another form is ever removed: a person may keep other files beside the blocks. */
const FOLDER = /^[0-9a-f]{2}$/;
const FILE = /^[0-9a-f]{40}-\d+(\.claim|\.[0-9a-f]{12}\.part)?$/;

/** Names a block of a blob of one version. */
export interface BlockName {
  /** Of the blob, its version and its size. */
  readonly blob: string;
  readonly index: number;
  readonly bytes: number;
}

export interface BlockCacheOptions {
  /** A folder of its own; made when it is missing. */
  readonly directory: string;
  readonly mostBytes: number;
  /** Told once when the disk is full. */
  readonly onWarning: (message: string) => void;
}

/**
 * Blocks of remote blobs as files in one folder, shared by all processes of a host. A block appears whole, by a rename, and is
 * on the disk before it does, so neither `kill -9` nor a loss of power leaves a wrong one. Those that were not read for longest
 * go when the bound is reached; several processes may pass it by some per cent for a moment.
 */
export class BlockCache {
  readonly #directory: string;
  readonly #mostBytes: number;
  readonly #onWarning: (message: string) => void;
  readonly #sweeps = new SerialQueue();
  readonly #claims: BlockClaims;
  #ready: Promise<void> | undefined;
  /** Of all processes when they were last counted; and written by this one since then. */
  #countedBytes: number | undefined;
  #writtenBytes = 0;
  #isFull = false;

  constructor({ directory, mostBytes, onWarning }: BlockCacheOptions) {
    this.#directory = directory;
    this.#mostBytes = mostBytes;
    this.#onWarning = onWarning;
    this.#claims = new BlockClaims(directory);
  }

  /** How many blocks of a size fit. */
  capacity(blockBytes: number): number {
    return Math.floor(this.#mostBytes / blockBytes);
  }

  /** @throws WeftError `failed_precondition` when the folder cannot be written */
  open(): Promise<void> {
    this.#ready ??= this.#prepare();
    return this.#ready;
  }

  /** Fills `into` from the block, from `offset` of it on. @returns false when it is not there */
  async read(name: BlockName, into: Uint8Array, offset: number): Promise<boolean> {
    const path = this.#path(name);
    const file = await open(path, 'r').catch((thrown: unknown) => {
      if (isMissing(thrown)) return undefined;
      throw unreadable(path, thrown);
    });
    if (file === undefined) return false;
    try {
      return await this.#readOpen(file, path, name, into, offset);
    } finally {
      await file.close();
    }
  }

  /**
   * Lets the caller fetch a block while no other process does.
   *
   * @returns undefined when it is there
   */
  async claim(name: BlockName): Promise<(() => Promise<void>) | undefined> {
    const path = this.#path(name);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    return this.#claims.take(path, () => isBlock(path, name.bytes));
  }

  /** @returns false when the disk has no space for it */
  async write(name: BlockName, content: Uint8Array): Promise<boolean> {
    await this.#makeRoom(content.length);
    if (await this.#put(name, content)) return true;
    // Others fill the disk: half of what is here goes.
    await this.#sweeps.run(() => this.#sweep((total) => total / 2));
    if (await this.#put(name, content)) return true;
    if (!this.#isFull)
      this.#onWarning(
        `the disk of ${this.#directory} is full: what is fetched is not kept. Free space, or set data.remote.cacheDirectory to another disk`,
      );
    this.#isFull = true;
    return false;
  }

  async #prepare(): Promise<void> {
    const probe = join(this.#directory, `.probe-${randomBytes(6).toString('hex')}`);
    try {
      await mkdir(this.#directory, { recursive: true, mode: 0o700 });
      await writeBlock(probe, Buffer.from('weft'));
      await rm(probe, { force: true });
    } catch (thrown) {
      await rm(probe, { force: true }).catch(() => undefined);
      const reason = isFullDisk(thrown) ? 'its disk is full' : WeftError.from(thrown).message;
      throw new WeftError(
        'failed_precondition',
        `the cache of remote data cannot be written to ${this.#directory}: ${reason}`,
        {
          cause: thrown,
          hint: 'free space there, or set data.remote.cacheDirectory to a folder of every host that can be written',
        },
      );
    }
  }

  async #readOpen(file: FileHandle, path: string, name: BlockName, into: Uint8Array, offset: number): Promise<boolean> {
    const { size, mtimeMs } = await file.stat();
    if (size !== name.bytes) return false;
    const { bytesRead } = await file.read(into, 0, into.length, offset).catch((thrown: unknown) => {
      throw unreadable(path, thrown);
    });
    if (bytesRead < into.length) return false;
    const nowMs = Date.now();
    // The time of its change says when it was last read: access times are often switched off.
    if (nowMs - mtimeMs > TOUCH_AFTER_MS) await utimes(path, nowMs / 1000, nowMs / 1000).catch(() => undefined);
    return true;
  }

  async #put(name: BlockName, content: Uint8Array): Promise<boolean> {
    const path = this.#path(name);
    const unfinished = `${path}.${randomBytes(6).toString('hex')}.part`;
    try {
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await writeBlock(unfinished, content);
      await rename(unfinished, path);
      return true;
    } catch (thrown) {
      await rm(unfinished, { force: true }).catch(() => undefined);
      if (isFullDisk(thrown)) return false;
      throw new WeftError(
        'failed_precondition',
        `the cache of remote data cannot be written to ${this.#directory}: ${WeftError.from(thrown).message}`,
        { cause: thrown, hint: 'set data.remote.cacheDirectory to a folder of every host that can be written' },
      );
    }
  }

  async #makeRoom(bytes: number): Promise<void> {
    this.#writtenBytes += bytes;
    await this.#sweeps.run(async () => {
      const isCounted = this.#countedBytes !== undefined && this.#writtenBytes <= this.#mostBytes * RECOUNT_SHARE;
      if (isCounted && (this.#countedBytes ?? 0) + this.#writtenBytes <= this.#mostBytes) return;
      await this.#sweep((total) => (total + bytes > this.#mostBytes ? this.#mostBytes * KEPT_SHARE - bytes : total));
      this.#writtenBytes = bytes;
    });
  }

  /** Counts all blocks, and removes those read longest ago until no more than `wanted` stay. */
  async #sweep(wanted: (totalBytes: number) => number): Promise<void> {
    const blocks: { readonly path: string; readonly bytes: number; readonly readMs: number }[] = [];
    const nowMs = Date.now();
    await removeAbandonedOwners(this.#directory);
    for (const folder of await namesIn(this.#directory, FOLDER))
      for (const name of await namesIn(join(this.#directory, folder), FILE)) {
        const path = join(this.#directory, folder, name);
        const found = await lstat(path).catch(() => undefined);
        if (found?.isFile() !== true) continue;
        if (name.endsWith('.claim')) await removeAbandonedClaim(path);
        else if (!name.endsWith('.part')) blocks.push({ path, bytes: found.size, readMs: found.mtimeMs });
        else if (nowMs - found.mtimeMs > ABANDONED_AFTER_MS) await rm(path, { force: true });
      }
    let total = blocks.reduce((sum, { bytes }) => sum + bytes, 0);
    const most = wanted(total);
    for (const { path, bytes } of blocks.sort((a, b) => a.readMs - b.readMs)) {
      if (total <= most) break;
      await rm(path, { force: true });
      total -= bytes;
    }
    this.#countedBytes = total;
  }

  #path({ blob, index }: BlockName): string {
    const hash = createHash('sha256').update(blob).digest('hex');
    return join(this.#directory, hash.slice(0, 2), `${hash.slice(2, 42)}-${index}`);
  }
}

/** Data may be private: others of the machine cannot read it. */
async function writeBlock(path: string, content: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    for (let written = 0; written < content.length; )
      written += (await file.write(content, written, content.length - written)).bytesWritten;
    await file.datasync();
  } finally {
    await file.close();
  }
}

const isBlock = (path: string, bytes: number) =>
  stat(path).then(
    ({ size }) => size === bytes,
    () => false,
  );

async function namesIn(folder: string, form: RegExp): Promise<readonly string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => form.test(name));
}

function isFullDisk(thrown: unknown): boolean {
  const code = systemErrorCode(thrown);
  return code === 'ENOSPC' || code === 'EDQUOT';
}

function unreadable(path: string, thrown: unknown): WeftError {
  return new WeftError('failed_precondition', `${path} cannot be read: ${WeftError.from(thrown).message}`, {
    cause: thrown,
    hint: 'check the permissions and the health of the disk, or set data.remote.cacheDirectory to another folder',
  });
}
