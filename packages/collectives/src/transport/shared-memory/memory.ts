import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { refuse, WeftError } from '@weft/common';
import { koffi } from '@weft/native';

/** Random bytes at the start of the memory, by which it is recognised. */
const IDENTITY_BYTES = 16;
/** The identity has a page of its own, which keeps what follows aligned. */
const FIRST_PAGE_BYTES = 4096;
/** Opening neither waits nor has side effects, for any kind of file. */
const OPEN_FLAGS = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY;

/**
 * Memory shared by processes of one machine and one user: an anonymous file (`memfd`) without a path, found through
 * `/proc/<process>/fd` of the process that created it, and freed with the last process that has it open.
 */
export class SharedMemory {
  /** By this name another process opens the memory, until `hide`. */
  readonly name: string;
  #mapping: Mapping | undefined;
  #file: number | undefined;

  /** Allocates memory, all zeros; `undefined` where the system has none to share. */
  static create(bytes: number): SharedMemory | undefined {
    const file = createMemoryFile(FIRST_PAGE_BYTES + bytes);
    if (file === undefined) return undefined;
    const mapping = mapFile(file, FIRST_PAGE_BYTES + bytes);
    if (mapping === undefined) {
      closeSync(file);
      return undefined;
    }
    const identity = randomBytes(IDENTITY_BYTES);
    mapping.bytes.set(identity);
    return new SharedMemory(`${process.pid}/${file}/${identity.toString('hex')}`, mapping, file);
  }

  /**
   * Opens memory that another process created.
   *
   * @throws WeftError `unavailable` when it cannot be reached from this process or its size is not `bytes`.
   */
  static open(name: string, bytes: number): SharedMemory {
    const [, owner, number, identity] = /^(\d{1,10})\/(\d{1,10})\/([0-9a-f]{32})$/.exec(name) ?? [];
    if (identity === undefined) refuse('unavailable', `"${name}" is no name of shared memory`);
    const fail = (why: string): never => refuse('unavailable', `the memory ${name} cannot be shared: ${why}`);
    const file = openFile(`/proc/${owner}/fd/${number}`) ?? fail('its process is not visible from here');
    try {
      if (!hasFixedSize(file)) fail('it is something else');
      if (fstatSync(file).size !== FIRST_PAGE_BYTES + bytes) fail(`it does not hold ${bytes} bytes`);
      const found = Buffer.alloc(IDENTITY_BYTES);
      readSync(file, found, 0, IDENTITY_BYTES, 0);
      if (found.toString('hex') !== identity) fail('other memory has its number');
      const mapping = mapFile(file, FIRST_PAGE_BYTES + bytes) ?? fail('the system does not map it');
      return new SharedMemory(name, mapping, undefined);
    } finally {
      closeSync(file);
    }
  }

  private constructor(name: string, mapping: Mapping, file: number | undefined) {
    this.name = name;
    this.#mapping = mapping;
    this.#file = file;
  }

  /** The memory itself. Touching a view of it after `close` kills the process. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#mapping === undefined) throw new WeftError('internal', 'shared memory was used after it was closed');
    return this.#mapping.bytes.subarray(FIRST_PAGE_BYTES);
  }

  /** From now on no other process can open it. */
  hide(): void {
    if (this.#file !== undefined) closeSync(this.#file);
    this.#file = undefined;
  }

  close(): void {
    this.hide();
    this.#mapping?.unmap();
    this.#mapping = undefined;
  }
}

function openFile(path: string): number | undefined {
  try {
    return openSync(path, OPEN_FLAGS);
  } catch {
    return undefined;
  }
}

// <sys/mman.h> and <fcntl.h> of Linux.
const [PROT_READ_AND_WRITE, MAP_SHARED] = [3, 1];
const [MFD_CLOEXEC, MFD_ALLOW_SEALING] = [1, 2];
const [F_ADD_SEALS, F_GET_SEALS] = [1033, 1034];
/** Neither the size nor the seals can change: a process that touches memory that was cut off is killed. */
const FIXED_SIZE = 0x1 | 0x2 | 0x4;
const MAP_FAILED = 2n ** 64n - 1n;

/** The functions of the C library that Node does not offer, and a view on the memory behind an address. */
interface MemoryCalls {
  readonly memfd_create: (name: string, flags: number) => number;
  readonly posix_fallocate: (file: number, at: number, bytes: number) => number;
  readonly fcntl: (file: number, command: number, argument: number) => number;
  readonly mmap: (address: null, bytes: number, protection: number, flags: number, file: number, at: number) => bigint;
  readonly munmap: (address: bigint, bytes: number) => number;
  readonly view: (address: bigint, bytes: number) => ArrayBuffer;
}

let calls: MemoryCalls | undefined;

/** @throws the linker's error where the system lacks one of the functions */
function memoryCalls(): MemoryCalls {
  if (calls !== undefined) return calls;
  // Loaded here and not on top: a run that shares no memory needs no native code.
  const library = koffi().load(null);
  calls = {
    memfd_create: library.func('int memfd_create(const char*, uint)'),
    posix_fallocate: library.func('int posix_fallocate(int, int64_t, int64_t)'),
    fcntl: library.func('int fcntl(int, int, int)'),
    mmap: library.func('void* mmap(void*, size_t, int, int, int, int64_t)'),
    munmap: library.func('int munmap(void*, size_t)'),
    view: koffi().view,
  };
  return calls;
}

/**
 * A new file of zeros that lies in memory, has no path and keeps its size.
 *
 * @returns its descriptor; `undefined` where the system has no such files, or no memory left
 */
function createMemoryFile(bytes: number): number | undefined {
  if (process.platform !== 'linux') return undefined;
  const { memfd_create, posix_fallocate, fcntl } = memoryCalls();
  const file = memfd_create('weft', MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file < 0) return undefined;
  // Allocated now: if a page were missing at its first touch, the process would be killed.
  if (posix_fallocate(file, 0, bytes) === 0 && fcntl(file, F_ADD_SEALS, FIXED_SIZE) === 0) return file;
  closeSync(file);
  return undefined;
}

/** Whether a file lies in memory and keeps its size. */
function hasFixedSize(file: number): boolean {
  return memoryCalls().fcntl(file, F_GET_SEALS, 0) === FIXED_SIZE;
}

/** A file's bytes in this process's memory; the file may be closed before they are unmapped. */
interface Mapping {
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** Touching a view of `bytes` afterwards kills the process. */
  unmap(): void;
}

/** @returns `undefined` when the system refuses */
function mapFile(file: number, bytes: number): Mapping | undefined {
  const { mmap, munmap, view } = memoryCalls();
  const address = mmap(null, bytes, PROT_READ_AND_WRITE, MAP_SHARED, file, 0);
  if (BigInt.asUintN(64, address) === MAP_FAILED) return undefined;
  return { bytes: new Uint8Array(view(address, bytes)), unmap: () => munmap(address, bytes) };
}
