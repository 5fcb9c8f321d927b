import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { WeftError } from '@weft/common';
import type { Blob, BlobStore } from './blob-store.js';

/** Linux reads and writes at most 2 GiB at a time. */
const MAX_TRANSFER_BYTES = 2 ** 30;

/** Checkpoints in folders of this machine, or of a file system that all hosts share. */
export const fileStore: BlobStore = {
  async write(path, pieces) {
    const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
    try {
      await makeFolder(dirname(path));
      const file = await open(temporary, 'w');
      try {
        for (const piece of pieces) await writeFully(file, piece);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(temporary, path);
      await syncFolder(dirname(path));
    } catch (thrown) {
      await rm(temporary, { force: true }).catch(() => {});
      throw writeError(path, thrown);
    }
  },

  async open(path) {
    try {
      const file = await open(path, 'r');
      return new FileBlob(path, file, (await file.stat()).size);
    } catch (thrown) {
      if (errorCode(thrown) === 'ENOENT') throw new WeftError('not_found', `${path} does not exist`, { cause: thrown });
      throw readError(path, thrown);
    }
  },

  async list(folder) {
    try {
      return (await readdir(folder)).sort();
    } catch (thrown) {
      if (errorCode(thrown) === 'ENOENT') return [];
      throw readError(folder, thrown);
    }
  },

  async remove(path) {
    try {
      await rm(path, { recursive: true, force: true });
      await syncFolder(dirname(path));
    } catch (thrown) {
      if (errorCode(thrown) === 'ENOENT') return;
      throw new WeftError('failed_precondition', `${path} cannot be removed: ${WeftError.from(thrown).message}`, {
        cause: thrown,
      });
    }
  },
};

class FileBlob implements Blob {
  readonly bytes: number;
  readonly #path: string;
  readonly #file: FileHandle;

  constructor(path: string, file: FileHandle, bytes: number) {
    this.#path = path;
    this.#file = file;
    this.bytes = bytes;
  }

  async read(into: Uint8Array, position: number): Promise<void> {
    for (let filled = 0; filled < into.length; ) {
      const wanted = Math.min(MAX_TRANSFER_BYTES, into.length - filled);
      const { bytesRead } = await this.#read(into, filled, wanted, position + filled);
      if (bytesRead === 0)
        throw new WeftError(
          'corrupt_data',
          `${this.#path} ends at byte ${position + filled}, in the middle of its data`,
        );
      filled += bytesRead;
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }

  async #read(into: Uint8Array, offset: number, length: number, position: number) {
    try {
      return await this.#file.read(into, offset, length, position);
    } catch (thrown) {
      throw readError(this.#path, thrown);
    }
  }
}

async function writeFully(file: FileHandle, piece: Uint8Array): Promise<void> {
  for (let written = 0; written < piece.length; )
    written += (await file.write(piece, written, Math.min(MAX_TRANSFER_BYTES, piece.length - written))).bytesWritten;
}

/** Makes a folder and those above it so that their entries survive a crash too. */
async function makeFolder(folder: string): Promise<void> {
  const highest = await mkdir(folder, { recursive: true });
  if (highest === undefined) return;
  for (let made = folder; ; made = dirname(made)) {
    await syncFolder(dirname(made));
    if (made === highest || made === dirname(made)) return;
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function writeError(path: string, thrown: unknown): WeftError {
  const full = errorCode(thrown) === 'ENOSPC' || errorCode(thrown) === 'EDQUOT';
  const why = full ? 'the disk is full' : WeftError.from(thrown).message;
  return new WeftError('failed_precondition', `${path} cannot be written: ${why}`, {
    cause: thrown,
    cure: full ? 'free space, or keep fewer checkpoints with checkpoint.keepLast' : 'check that the folder is writable',
  });
}

function readError(path: string, thrown: unknown): WeftError {
  if (thrown instanceof WeftError) return thrown;
  return new WeftError('failed_precondition', `${path} cannot be read: ${WeftError.from(thrown).message}`, {
    cause: thrown,
    cure: 'check the permissions and the health of the disk',
  });
}

function errorCode(thrown: unknown): unknown {
  return thrown instanceof Error && 'code' in thrown ? thrown.code : undefined;
}
