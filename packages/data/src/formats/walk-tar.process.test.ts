import { execFile } from 'node:child_process';
import { mkdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { diskStore } from '@weft/files';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { writeTar } from '../testing/tiny-dataset.js';
import { BlobCursor } from './byte-cursor.js';
import { walkTar } from './walk-tar.js';

const run = promisify(execFile);

describe('the tar of the system', () => {
  it.each(['gnu', 'pax', 'ustar', 'v7'])('writes archives (%s) that are read, long names included', async (format) => {
    await using folder = await temporaryDirectory();
    const deep = format === 'v7' ? 'data' : `data/${'deep-folder-name/'.repeat(7)}end`;
    await mkdir(join(folder.path, deep), { recursive: true });
    const names = [`${deep}/one.txt`, `${deep}/${'n'.repeat(format === 'ustar' ? 90 : 60)}.txt`];
    for (const name of names) await writeFile(join(folder.path, name), `content of ${name.length}`);
    await run('tar', ['-cf', 'a.tar', `--format=${format}`, '--sort=name', './data'], { cwd: folder.path });

    const path = join(folder.path, 'a.tar');
    const blob = await diskStore.open(path);
    const found = new Map<string, string>();
    for await (const { name, offset, bytes } of walkTar(new BlobCursor(blob), path)) {
      const buffer = Buffer.alloc(bytes);
      await blob.read(buffer, offset);
      found.set(name, buffer.toString());
    }
    await blob.close();
    expect(found).toEqual(new Map(names.map((name) => [name, `content of ${name.length}`])));
  });

  it('reads the archives that are written here', async () => {
    await using folder = await temporaryDirectory();
    await writeTar(join(folder.path, 'a.tar'), [
      ['one.txt', 'first'],
      ['sub/two.txt', 'x'.repeat(1000)],
    ]);
    const { stdout } = await run('tar', ['-xvf', 'a.tar'], { cwd: folder.path });
    expect(stdout).toBe('one.txt\nsub/two.txt\n');
    expect((await stat(join(folder.path, 'sub/two.txt'))).size).toBe(1000);
  });
});
