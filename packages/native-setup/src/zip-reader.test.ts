import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { writeZip, type ZipFile } from './testing/zip-writer.js';
import { readZipDirectory, unpackEntry } from './zip-reader.mjs';

let folder: string;
let archive: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-zip-'));
  archive = join(folder, 'a.whl');
});
afterEach(() => rmSync(folder, { recursive: true }));

const read = (files: readonly ZipFile[]) => {
  writeFileSync(archive, writeZip(files));
  return readZipDirectory(archive);
};
const unpackFirst = async (files: readonly ZipFile[]) => {
  const [entry] = await read(files);
  if (entry === undefined) throw new Error('the archive is empty');
  await unpackEntry(archive, entry, join(folder, 'out'));
  return readFileSync(join(folder, 'out'));
};

describe('an archive', () => {
  it('gives back what was packed, stored and deflated, empty and large', async () => {
    for (const stored of [true, false]) {
      for (const content of ['', 'a', 'weft '.repeat(300_000)]) {
        const bytes = await unpackFirst([{ name: 'folder/file', content, stored }]);
        expect(bytes.toString()).toBe(content);
        rmSync(join(folder, 'out'));
      }
    }
  });

  it('keeps whether a file can be executed', async () => {
    await unpackFirst([{ name: 'bin/ptxas', content: 'x', mode: 0o100750 }]);
    expect(statSync(join(folder, 'out')).mode & 0o111).not.toBe(0);
  });

  it('reports the progress of unpacking', async () => {
    const [entry] = await read([{ name: 'file', content: 'x'.repeat(1000) }]);
    let bytes = 0;
    await unpackEntry(archive, entry!, join(folder, 'out'), (more) => {
      bytes += more;
    });
    expect(bytes).toBe(1000);
  });
});

describe('a damaged archive', () => {
  it('is named when its bytes do not give the checksum', async () => {
    await expect(unpackFirst([{ name: 'file', content: 'abc', lies: { crc: 7 } }])).rejects.toThrow(
      /a\.whl: file has another checksum/,
    );
  });

  it('is named when a file is longer or shorter than the directory says', async () => {
    await expect(unpackFirst([{ name: 'file', content: 'abc', lies: { bytes: 2 } }])).rejects.toThrow(
      /more than 2 bytes/,
    );
    rmSync(join(folder, 'out'));
    await expect(unpackFirst([{ name: 'file', content: 'abc', lies: { bytes: 9 } }])).rejects.toThrow(/3 bytes, not 9/);
  });

  it('is refused wherever it is cut off, and never hangs or unpacks', async () => {
    const whole = writeZip([{ name: 'tensorflow/file', content: 'hello hello hello' }]);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), async (length) => {
        writeFileSync(archive, whole.subarray(0, length));
        await expect(readZipDirectory(archive)).rejects.toThrow(/a\.whl/);
      }),
      { numRuns: 50 },
    );
  });

  it('is refused when entries share bytes', async () => {
    const twice = [
      { name: 'one', content: 'x'.repeat(100), stored: true },
      { name: 'two', content: 'y', lies: { headerOffset: 10 } },
    ];
    await expect(read(twice)).rejects.toThrow(/overlaps/);
  });
});

describe('a hostile archive', () => {
  it.each(['../out', 'a/../../out', '/etc/passwd', 'C:/x', 'a\\..\\b', './a', ''])(
    'cannot place a file at %j',
    async (name) => {
      await expect(read([{ name, content: 'x' }])).rejects.toThrow(/leads out of its folder/);
    },
  );

  it('cannot bring a symbolic link or one name twice', async () => {
    await expect(read([{ name: 'link', content: '/etc', mode: 0o120777 }])).rejects.toThrow(/symbolic link/);
    const file = { name: 'file', content: 'x' };
    await expect(read([file, file])).rejects.toThrow(/twice/);
  });
});
