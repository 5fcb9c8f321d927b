import { closeSync, ftruncateSync } from 'node:fs';
import koffi from 'koffi';

// <sys/mman.h> of Linux.
const [PROT_READ_AND_WRITE, MAP_SHARED, MFD_CLOEXEC] = [3, 1, 1];
const MAP_FAILED = 2n ** 64n - 1n;

interface MemoryCalls {
  readonly memfd_create: (name: string, flags: number) => number;
  readonly mmap: (address: null, bytes: number, protection: number, flags: number, file: number, at: number) => bigint;
  readonly munmap: (address: bigint, bytes: number) => number;
}

let calls: MemoryCalls | undefined;

function memoryCalls(): MemoryCalls {
  if (calls !== undefined) return calls;
  const library = koffi.load(null);
  calls = {
    memfd_create: library.func('int memfd_create(const char*, uint)'),
    mmap: library.func('void* mmap(void*, size_t, int, int, int, int64_t)'),
    munmap: library.func('int munmap(void*, size_t)'),
  };
  return calls;
}

/** The descriptor of a new file of zeros that lies in memory and has no path; `undefined` where the system has none. */
export function createMemoryFile(bytes: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const file = memoryCalls().memfd_create('weft', MFD_CLOEXEC);
  if (file < 0) return undefined;
  try {
    ftruncateSync(file, bytes);
    return file;
  } catch {
    closeSync(file);
    return undefined;
  }
}

/** A file's bytes in this process's memory, until they are unmapped; the file may be closed before. */
export interface Mapping {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** No view of `bytes` may be touched afterwards: that would end the process. */
  unmap(): void;
}

/** @returns `undefined` when the system refuses, as it does without memory. */
export function mapFile(file: number, bytes: number): Mapping | undefined {
  const { mmap, munmap } = memoryCalls();
  const address = mmap(null, bytes, PROT_READ_AND_WRITE, MAP_SHARED, file, 0);
  if (BigInt.asUintN(64, address) === MAP_FAILED) return undefined;
  return { bytes: new Uint8Array(koffi.view(address, bytes)), unmap: () => munmap(address, bytes) };
}
