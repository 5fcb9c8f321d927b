import { closeSync } from 'node:fs';
import koffi from 'koffi';

// <sys/mman.h> and <fcntl.h> of Linux.
const [PROT_READ_AND_WRITE, MAP_SHARED] = [3, 1];
const [MFD_CLOEXEC, MFD_ALLOW_SEALING] = [1, 2];
const [F_ADD_SEALS, F_GET_SEALS] = [1033, 1034];
/** Nobody changes the size any more, nor the seals: memory that was cut off ends the process that touches it. */
const FIXED_SIZE = 0x1 | 0x2 | 0x4;
const MAP_FAILED = 2n ** 64n - 1n;

interface MemoryCalls {
  readonly memfd_create: (name: string, flags: number) => number;
  readonly posix_fallocate: (file: number, at: number, bytes: number) => number;
  readonly fcntl: (file: number, command: number, argument: number) => number;
  readonly mmap: (address: null, bytes: number, protection: number, flags: number, file: number, at: number) => bigint;
  readonly munmap: (address: bigint, bytes: number) => number;
}

let calls: MemoryCalls | undefined;

/** @throws what the linker says where the system lacks one of them */
function memoryCalls(): MemoryCalls {
  if (calls !== undefined) return calls;
  const library = koffi.load(null);
  calls = {
    memfd_create: library.func('int memfd_create(const char*, uint)'),
    posix_fallocate: library.func('int posix_fallocate(int, int64_t, int64_t)'),
    fcntl: library.func('int fcntl(int, int, int)'),
    mmap: library.func('void* mmap(void*, size_t, int, int, int, int64_t)'),
    munmap: library.func('int munmap(void*, size_t)'),
  };
  return calls;
}

/**
 * The descriptor of a new file of zeros that lies in memory, has no path and keeps its size.
 * @returns `undefined` where the system has no such files, or no memory
 */
export function createMemoryFile(bytes: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const { memfd_create, posix_fallocate, fcntl } = memoryCalls();
  const file = memfd_create('weft', MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return undefined;
  // The memory is taken now: where it is missing, a first touch would end the process.
  if (posix_fallocate(file, 0, bytes) === 0 && fcntl(file, F_ADD_SEALS, FIXED_SIZE) === 0) return file;
  closeSync(file);
  return undefined;
}

/** Whether a file lies in memory and keeps its size. */
export function hasFixedSize(file: number): boolean {
  return memoryCalls().fcntl(file, F_GET_SEALS, 0) === FIXED_SIZE;
}

/** A file's bytes in this process's memory, until they are unmapped; the file may be closed before. */
export interface Mapping {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** No view of `bytes` may be touched afterwards: that would end the process. */
  unmap(): void;
}

/** @returns `undefined` when the system refuses */
export function mapFile(file: number, bytes: number): Mapping | undefined {
  const { mmap, munmap } = memoryCalls();
  const address = mmap(null, bytes, PROT_READ_AND_WRITE, MAP_SHARED, file, 0);
  if (BigInt.asUintN(64, address) === MAP_FAILED) return undefined;
  return { bytes: new Uint8Array(koffi.view(address, bytes)), unmap: () => munmap(address, bytes) };
}
