import { randomBytes } from 'node:crypto';
import { closeSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { SharedMemory } from './memory.js';

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function create(bytes: number): SharedMemory {
  const memory = SharedMemory.create(bytes)!;
  cleanups.push(() => memory.close());
  return memory;
}

function open(name: string, bytes: number): SharedMemory {
  const memory = SharedMemory.open(name, bytes);
  cleanups.push(() => memory.close());
  return memory;
}

describe.runIf(process.platform === 'linux')('shared memory', () => {
  it('is all zeros, and what is written on one side is read on the other', () => {
    const ours = create(10_000);
    const theirs = open(ours.name, 10_000);
    expect(theirs.bytes).toHaveLength(10_000);
    expect(theirs.bytes.every((byte) => byte === 0)).toBe(true);
    ours.bytes[9_999] = 7;
    theirs.bytes[0] = 8;
    expect([theirs.bytes[9_999], ours.bytes[0]]).toEqual([7, 8]);
  });

  it('outlives the process that made it, for the other', () => {
    const ours = create(100);
    const theirs = open(ours.name, 100);
    ours.bytes[1] = 5;
    ours.close();
    expect(theirs.bytes[1]).toBe(5);
    expect(() => ours.bytes).toThrow('used after it was closed');
  });

  it('is not found any more once it is hidden', () => {
    const memory = create(100);
    memory.hide();
    expect(() => SharedMemory.open(memory.name, 100)).toThrow('cannot be shared');
  });

  it('is refused by another size', () => {
    const { name } = create(100);
    expect(() => SharedMemory.open(name, 101)).toThrow(
      `the memory ${name} cannot be shared: it does not hold 101 bytes`,
    );
  });

  it('keeps its size: a part that is cut off would end the process that touches it', () => {
    const { name } = create(100);
    const [owner, file] = name.split('/');
    expect(() => truncateSync(`/proc/${owner}/fd/${file}`, 50)).toThrow('EPERM');
  });

  it('is not mistaken for other memory that has its number', () => {
    const [owner, file] = create(100).name.split('/');
    expect(() => SharedMemory.open(`${owner}/${file}/${'0'.repeat(31)}1`, 100)).toThrow('other memory has its number');
  });

  it('is not mistaken for a file', () => {
    const path = join(tmpdir(), `weft-${randomBytes(8).toString('hex')}`);
    writeFileSync(path, new Uint8Array(4096 + 100));
    const file = openSync(path, 'r+');
    cleanups.push(() => {
      closeSync(file);
      rmSync(path);
    });
    expect(() => SharedMemory.open(`${process.pid}/${file}/${'0'.repeat(32)}`, 100)).toThrow('it is something else');
  });

  it.each(['', 'x', '1/2', `../../etc/passwd/${'0'.repeat(32)}`, `1/2/${'0'.repeat(31)}`])(
    'refuses "%s" as a name',
    (name) => {
      expect(() => SharedMemory.open(name, 100)).toThrow('is no name of shared memory');
    },
  );
});
