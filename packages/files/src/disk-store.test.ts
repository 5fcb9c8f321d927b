import { execFileSync } from 'node:child_process';
import { createWriteStream } from 'node:fs';
import { mkdir, readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { blobChunks, readText, withBlob } from './blob-store.js';
import { diskStore } from './disk-store.js';

let directory: TemporaryDirectory;
const at = (...names: string[]) => join(directory.path, ...names);
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(() => directory.remove());

describe('a blob on disk', () => {
  it('is written with the folders above it, whatever form its content has, and replaced whole', async () => {
    const path = at('a', 'b', 'c.txt');
    const chunks = [Buffer.from('të'), Buffer.from('xt')];
    async function* inTime(): AsyncGenerator<Uint8Array> {
      for (const chunk of chunks) yield await Promise.resolve(chunk);
    }
    for (const content of ['tëxt', Buffer.from('tëxt'), chunks, inTime()]) {
      await diskStore.write(path, 'something longer');
      await diskStore.write(path, content);
      expect(await readText(diskStore, path)).toBe('tëxt');
      expect(await diskStore.size(path)).toBe(5);
    }
    expect(await diskStore.list(at('a', 'b'))).toEqual(['c.txt']);
  });

  it('stays as it was when its content fails on the way', async () => {
    await diskStore.write(at('a'), 'old');
    function* broken(): Generator<Uint8Array> {
      yield Buffer.from('new');
      throw new Error('no more');
    }
    await expect(diskStore.write(at('a'), broken())).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `${at('a')} cannot be written: no more`,
    });
    expect(await readText(diskStore, at('a'))).toBe('old');
    expect(await diskStore.list(directory.path)).toEqual(['a']);
  });

  it('is read in ranges, and says so when it ends too early', async () => {
    await diskStore.write(at('a'), '0123456789');
    await withBlob(diskStore, at('a'), async (blob) => {
      expect(blob.bytes).toBe(10);
      const range = Buffer.alloc(4);
      await blob.read(range, 3);
      expect(range.toString()).toBe('3456');
      await expect(blob.read(range, 8)).rejects.toMatchObject({
        code: 'corrupt_data',
        message: `${at('a')} ends at byte 10, in the middle of its data`,
      });
    });
  });

  it('is read in chunks of its own memory, the last one shorter, and not past a cut', async () => {
    await diskStore.write(at('a'), '0123456789');
    await withBlob(diskStore, at('a'), async (blob) => {
      const chunks: Buffer[] = [];
      for await (const chunk of blobChunks(blob, 4)) chunks.push(chunk);
      expect(chunks.map(String)).toEqual(['0123', '4567', '89']);
      await truncate(at('a'), 6);
      const rest = async () => {
        for await (const _ of blobChunks(blob, 4));
      };
      await expect(rest()).rejects.toMatchObject({ code: 'corrupt_data' });
    });
  });

  it('may be a pipe, which has no size', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    const read = readText(diskStore, at('pipe'));
    createWriteStream(at('pipe')).end('from a pipe');
    expect(await read).toBe('from a pipe');
  });

  it('that is missing, below a file, or a folder is refused by name', async () => {
    await writeFile(at('file'), '');
    await mkdir(at('folder'));
    for (const use of [diskStore.read, diskStore.open, diskStore.size]) {
      for (const path of [at('missing'), at('file', 'below')])
        await expect(use(path)).rejects.toMatchObject({ code: 'not_found', message: `${path} does not exist` });
      await expect(use(at('folder'))).rejects.toMatchObject({
        code: 'invalid_argument',
        message: `${at('folder')} is a folder, not a file`,
      });
    }
    await expect(diskStore.write(at('folder'), 'x')).rejects.toMatchObject({
      code: 'failed_precondition',
      hint: 'check that the folder is writable',
    });
  });

  it('is listed by name, and gone once removed; missing ones are no error', async () => {
    for (const name of ['b', 'a', 'c/d']) await diskStore.write(at(name), name);
    expect(await diskStore.list(directory.path)).toEqual(['a', 'b', 'c']);
    await diskStore.remove(at('a'));
    await diskStore.remove(at('c'));
    await diskStore.remove(at('missing', 'too'));
    expect(await diskStore.list(directory.path)).toEqual(['b']);
    expect(await diskStore.list(at('missing'))).toEqual([]);
  });
});

describe('appending', () => {
  it('goes to the end, and to the blob that was opened when another took its name', async () => {
    await writeFile(at('log'), '1\n');
    const appender = await diskStore.openAppend(at('log'));
    await appender.append('2\n');
    expect(await readFile(at('log'), 'utf8')).toBe('1\n2\n');
    await rename(at('log'), at('old'));
    await diskStore.write(at('log'), 'new\n');
    await appender.append('3\n');
    await appender.close();
    expect(await readFile(at('log'), 'utf8')).toBe('new\n');
    expect(await readFile(at('old'), 'utf8')).toBe('1\n2\n3\n');
  });

  it('makes the blob, but not its folder', async () => {
    const appender = await diskStore.openAppend(at('log'));
    await appender.close();
    expect(await diskStore.list(directory.path)).toEqual(['log']);
    await expect(diskStore.openAppend(at('missing', 'log'))).rejects.toMatchObject({ code: 'failed_precondition' });
  });

  it('to a full disk names the file and what to do', async () => {
    const appender = await diskStore.openAppend('/dev/full');
    await expect(appender.append('x')).rejects.toMatchObject({
      code: 'failed_precondition',
      message: '/dev/full cannot be written: the disk is full',
      hint: 'free space, or keep fewer checkpoints with checkpoint.keepLast',
    });
    await appender.close();
  });
});
