import { mkdir, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { buildDirectory, makeDirectory, writeFileAtomically } from './atomic-file.js';

describe('a folder that is made', () => {
  it('comes with those above it, and stays when it is there', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'a', 'b', 'c');
    for (let round = 0; round < 100; round++) {
      await Promise.all(['d', 'e', 'f'].map((name) => makeDirectory(join(path, String(round), 'g', name))));
      await Promise.all([1, 2, 3].map(() => makeDirectory(join(path, String(round), 'h'))));
    }
    await rm(path, { recursive: true });
    await makeDirectory(path);
    await writeFile(join(path, 'x'), '');
    await makeDirectory(path);
    expect(await readdir(path)).toEqual(['x']);
    await expect(makeDirectory(join(path, 'x'))).rejects.toThrow(
      `${join(path, 'x')} is a file, where a folder is to be`,
    );
    await expect(makeDirectory(join(path, 'x', 'y'))).rejects.toThrow(
      `${join(path, 'x', 'y')} cannot be made: a part of`,
    );
  });

  it('fails where a file system has room for none, instead of trying for ever', async () => {
    await expect(makeDirectory('/proc/1/weft/runs')).rejects.toThrow(
      '/proc/1/weft cannot be made: its file system takes no folders',
    );
  });
});

describe('a folder that is built', () => {
  it('appears whole, in place of the old one', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'built');
    for (const content of ['old', 'new'])
      expect(await buildDirectory(path, (at) => writeFile(join(at, 'a'), content).then(() => content))).toBe(content);
    expect(await readFile(join(path, 'a'), 'utf8')).toBe('new');
    expect(await readdir(folder.path)).toEqual(['built']);
  });

  it('does not appear when building fails, and the old one stays', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'built');
    await buildDirectory(path, (at) => writeFile(join(at, 'a'), 'old'));
    const failing = buildDirectory(path, async (at) => {
      await writeFile(join(at, 'a'), 'half');
      throw new Error('the disk is full');
    });
    await expect(failing).rejects.toThrow('the disk is full');
    expect(await readFile(join(path, 'a'), 'utf8')).toBe('old');
    expect(await readdir(folder.path)).toEqual(['built']);
  });

  it('sweeps away what a killed process left a day ago, and nothing younger', async () => {
    await using folder = await temporaryDirectory();
    const [old, young] = ['.x.unfinished-000000000001', '.x.unfinished-000000000002'].map((name) =>
      join(folder.path, name),
    );
    await mkdir(old!);
    await mkdir(young!);
    await utimes(old!, new Date(0), new Date(0));
    await buildDirectory(join(folder.path, 'built'), () => Promise.resolve());
    expect(await readdir(folder.path)).toEqual(['.x.unfinished-000000000002', 'built']);
  });
});

describe('a file written atomically', () => {
  it('replaces the old one, or leaves it and nothing else when it cannot', async () => {
    await using folder = await temporaryDirectory();
    const path = join(folder.path, 'a.json');
    await writeFileAtomically(path, 'one');
    await writeFileAtomically(path, 'two');
    expect(await readFile(path, 'utf8')).toBe('two');
    await mkdir(join(folder.path, 'b.json'));
    await expect(writeFileAtomically(join(folder.path, 'b.json'), 'x')).rejects.toThrow();
    expect((await readdir(folder.path)).sort()).toEqual(['a.json', 'b.json']);
  });
});
