import { randomBytes } from 'node:crypto';
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { WeftError } from '@weft/common';
import { createMemoryFile, hasFixedSize, type Mapping, mapFile } from './memory-file.js';

/** At the start of the memory, so that nobody takes another file for it; a page, to keep what follows aligned. */
const IDENTITY_BYTES = 16;
const FIRST_PAGE_BYTES = 4096;

/**
 * Memory that several processes of one machine see. It has no path and leaves nothing behind: others, of the same user only,
 * find it through the process that made it, and it is gone with the last process that has it.
 */
export class SharedMemory {
  /** With it another process opens this memory, for as long as it is not hidden. */
  readonly name: string;
  #mapping: Mapping | undefined;
  #file: number | undefined;

  /** New memory, all zeros; `undefined` where the system has none to share. */
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
   * Memory that another process made.
   *
   * @throws WeftError `unavailable` when it cannot be reached from here, or is not of that many bytes.
   */
  static open(name: string, bytes: number): SharedMemory {
    const [, owner, number, identity] = /^(\d{1,10})\/(\d{1,10})\/([0-9a-f]{32})$/.exec(name) ?? [];
    if (identity === undefined) throw new WeftError('unavailable', `"${name}" is no name of shared memory`);
    const refuse = (why: string): never => {
      throw new WeftError('unavailable', `the memory ${name} cannot be shared: ${why}`);
    };
    const file = openFile(`/proc/${owner}/fd/${number}`) ?? refuse('its process is not to be seen from here');
    try {
      if (!hasFixedSize(file)) refuse('it is something else');
      if (fstatSync(file).size !== FIRST_PAGE_BYTES + bytes) refuse(`it does not hold ${bytes} bytes`);
      const found = Buffer.alloc(IDENTITY_BYTES);
      readSync(file, found, 0, IDENTITY_BYTES, 0);
      if (found.toString('hex') !== identity) refuse('other memory has its number');
      const mapping = mapFile(file, FIRST_PAGE_BYTES + bytes) ?? refuse('the system does not map it');
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

  /** The memory itself. No view of it may be touched after `close`: that would end the process. */
  get bytes(): Uint8Array<ArrayBuffer> {
    if (this.#mapping === undefined) throw new WeftError('internal', 'shared memory was used after it was closed');
    return this.#mapping.bytes.subarray(FIRST_PAGE_BYTES);
  }

  /** Lets nobody else open it from now on. */
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

/** Whatever the path leads to, opening it neither waits nor does anything else. */
const OPENING = constants.O_RDWR | constants.O_NONBLOCK | constants.O_NOCTTY;

function openFile(path: string): number | undefined {
  try {
    return openSync(path, OPENING);
  } catch {
    return undefined;
  }
}
