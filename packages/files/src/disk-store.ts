import { type FileHandle, open, readdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemErrorCode, WeftError } from '@weft/common';
import { MAX_TRANSFER_BYTES, makeDirectory, syncDirectory, writeFileAtomically } from './atomic-file.js';
import type { Blob, BlobStore } from './blob-store.js';

/** Blobs as files of this machine, or of a file system that all hosts share. */
export const diskStore: BlobStore = {
  async write(path, chunks) {
    try {
      await makeDirectory(dirname(path));
      await writeFileAtomically(path, chunks);
    } catch (thrown) {
      throw writeError(path, thrown);
    }
  },

  async open(path) {
    try {
      const file = await open(path, 'r');
      return new FileBlob(path, file, (await file.stat()).size);
    } catch (thrown) {
      if (systemErrorCode(thrown) === 'ENOENT')
        throw new WeftError('not_found', `${path} does not exist`, { cause: thrown });
      throw readError(path, thrown);
    }
  },

  async list(folder) {
    try {
      return (await readdir(folder)).sort();
    } catch (thrown) {
      if (systemErrorCode(thrown) === 'ENOENT') return [];
      throw readError(folder, thrown);
    }
  },

  async remove(path) {
    try {
      await rm(path, { recursive: true, force: true });
      await syncDirectory(dirname(path));
    } catch (thrown) {
      if (systemErrorCode(thrown) === 'ENOENT') return;
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

function writeError(path: string, thrown: unknown): WeftError {
  const full = systemErrorCode(thrown) === 'ENOSPC' || systemErrorCode(thrown) === 'EDQUOT';
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
