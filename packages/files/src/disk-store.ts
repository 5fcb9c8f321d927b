import { type FileHandle, open, readdir, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { systemErrorCode, WeftError } from '@weft/common';
import { MAX_TRANSFER_BYTES, makeDirectory, syncDirectory, writeFileAtomically } from './atomic-file.js';
import type { AppendableStore, Blob, BlobAppender } from './blob-store.js';
import { isMissing } from './read-bytes.js';

/** Blobs as files of this machine, or of a file system that all hosts share. */
export const diskStore: AppendableStore = {
  async write(path, content) {
    try {
      await makeDirectory(dirname(path));
      await writeFileAtomically(path, content);
    } catch (thrown) {
      throw writeError(path, thrown);
    }
  },

  async read(path) {
    try {
      // Not by size: a pipe or /dev/stdin has none.
      return await readFile(path);
    } catch (thrown) {
      throw readError(path, thrown);
    }
  },

  async open(path) {
    try {
      const file = await open(path, 'r');
      const status = await file.stat();
      if (!status.isDirectory()) return new FileBlob(path, file, status.size);
      await file.close();
    } catch (thrown) {
      throw readError(path, thrown);
    }
    throw folderError(path);
  },

  async size(path) {
    const status = await stat(path).catch((thrown: unknown) => {
      throw readError(path, thrown);
    });
    if (status.isDirectory()) throw folderError(path);
    return status.size;
  },

  async list(folder) {
    try {
      return (await readdir(folder)).sort();
    } catch (thrown) {
      if (systemErrorCode(thrown) === 'ENOTDIR')
        throw new WeftError('failed_precondition', `${folder} is a file, not a folder`, { cause: thrown });
      if (isMissing(thrown)) return [];
      throw readError(folder, thrown);
    }
  },

  async remove(path) {
    try {
      await rm(path, { recursive: true, force: true });
      await syncDirectory(dirname(path));
    } catch (thrown) {
      if (isMissing(thrown)) return;
      throw new WeftError('failed_precondition', `${path} cannot be removed: ${WeftError.from(thrown).message}`, {
        cause: thrown,
        hint: 'check who owns the folder',
      });
    }
  },

  async openAppend(path) {
    try {
      return new FileAppender(path, await open(path, 'a'));
    } catch (thrown) {
      throw writeError(path, thrown);
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
      const { bytesRead } = await this.#file.read(into, filled, wanted, position + filled).catch((thrown: unknown) => {
        throw readError(this.#path, thrown);
      });
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
}

class FileAppender implements BlobAppender {
  readonly #path: string;
  readonly #file: FileHandle;

  constructor(path: string, file: FileHandle) {
    this.#path = path;
    this.#file = file;
  }

  async append(text: string): Promise<void> {
    await this.#file.appendFile(text).catch((thrown: unknown) => {
      throw writeError(this.#path, thrown);
    });
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function writeError(path: string, thrown: unknown): WeftError {
  if (thrown instanceof WeftError) return thrown;
  const full = systemErrorCode(thrown) === 'ENOSPC' || systemErrorCode(thrown) === 'EDQUOT';
  const why = full ? 'the disk is full' : WeftError.from(thrown).message;
  return new WeftError('failed_precondition', `${path} cannot be written: ${why}`, {
    cause: thrown,
    hint: full ? 'free space, or keep fewer checkpoints with checkpoint.keepLast' : 'check that the folder is writable',
  });
}

function readError(path: string, thrown: unknown): WeftError {
  if (thrown instanceof WeftError) return thrown;
  if (isMissing(thrown)) return new WeftError('not_found', `${path} does not exist`, { cause: thrown });
  if (systemErrorCode(thrown) === 'EISDIR') return folderError(path);
  return new WeftError('failed_precondition', `${path} cannot be read: ${WeftError.from(thrown).message}`, {
    cause: thrown,
    hint: 'check the permissions and the health of the disk',
  });
}

const folderError = (path: string) => new WeftError('invalid_argument', `${path} is a folder, not a file`);
