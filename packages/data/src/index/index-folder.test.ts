import { cp, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DEFAULT_DATASET } from '@weft/config';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';

const configOf = (directory: string, index: string) => {
  const { data, model } = tinyConfig(directory);
  return { data: { ...data, index }, model };
};

async function identityOf(config: ReturnType<typeof configOf>): Promise<string> {
  const dataset = await Dataset.open(config);
  await dataset.close();
  return dataset.identity;
}

it('two data folders share a folder of indexes, and each keeps its own', async () => {
  await using folder = await temporaryDirectory();
  const [a, b] = ['a', 'b'].map((name) => configOf(join(folder.path, name), join(folder.path, 'indexes')));
  await writeTinyDataset(a!.data.directory);
  await cp(a!.data.directory, b!.data.directory, { recursive: true });
  await writeFile(join(b!.data.directory, 'text/c.txt'), 'more');
  await indexDataset(a!);
  const identity = await identityOf(a!);
  await indexDataset(b!);
  expect(await identityOf(a!)).toBe(identity);
  expect(await identityOf(b!)).not.toBe(identity);
  expect((await indexDataset(a!)).built).toBe(false);
  expect((await indexDataset(b!)).built).toBe(false);
  const names = await readdir(join(folder.path, 'indexes'));
  expect(names.filter((name) => /^bytes-T48-K4-I3-F[0-9a-f]{8}$/.test(name))).toHaveLength(2);
});

it('finds an index that an older version made, and one of the same data at another path', async () => {
  await using folder = await temporaryDirectory();
  const [a, b] = ['a', 'b'].map((name) => configOf(join(folder.path, name), join(folder.path, 'indexes')));
  await writeTinyDataset(a!.data.directory);
  const { directory } = await indexDataset(a!);
  const identity = await identityOf(a!);
  await rename(a!.data.directory, b!.data.directory);
  expect(await identityOf(b!)).toBe(identity);
  const older = directory.replace(/-F[0-9a-f]{8}$/, '');
  await rename(directory, older);
  expect(await identityOf(b!)).toBe(identity);
  expect(await indexDataset(b!)).toMatchObject({ built: false, directory: older });
});

describe('an index without a hash, of an older version', () => {
  async function twoFolders(path: string) {
    const [a, b] = ['a', 'b'].map((name) => configOf(join(path, name), join(path, 'indexes')));
    await writeTinyDataset(a!.data.directory);
    await cp(a!.data.directory, b!.data.directory, { recursive: true });
    const { directory } = await indexDataset(a!);
    const plain = directory.replace(/-F[0-9a-f]{8}$/, '');
    await rename(directory, plain);
    return { a: a!, b: b!, plain };
  }

  it('is grown by nobody else, and grows under a name of its own with its sequences under their numbers', async () => {
    await using folder = await temporaryDirectory();
    const { a, b, plain } = await twoFolders(folder.path);
    const identity = await identityOf(a);
    await writeFile(join(b.data.directory, 'text/c.txt'), 'more');
    const grown = await indexDataset(b);
    expect(grown).toMatchObject({ built: true, added: { version: 2, shards: 1 } });
    expect(grown.directory).toMatch(/-F[0-9a-f]{8}$/);
    expect(await identityOf(a)).toBe(identity);
    expect(await indexDataset(a)).toMatchObject({ built: false, directory: plain });
    const dataset = await Dataset.open(b);
    expect(dataset.identityOf(1)).toBe(identity);
    await dataset.close();
    expect((await indexDataset(b)).built).toBe(false);
  });

  it('gives way, for data at another path, to one that holds all of their shards', async () => {
    await using folder = await temporaryDirectory();
    const { a, b } = await twoFolders(folder.path);
    await writeFile(join(b.data.directory, 'text/c.txt'), 'more');
    await indexDataset(b);
    const identity = await identityOf(b);
    const moved = configOf(join(folder.path, 'moved'), join(folder.path, 'indexes'));
    await rename(b.data.directory, moved.data.directory);
    expect(await identityOf(moved)).toBe(identity);
    expect(await identityOf(a)).not.toBe(identity);
  });

  it('stays whole where fewer of its shards are named', async () => {
    await using folder = await temporaryDirectory();
    const { a, plain } = await twoFolders(folder.path);
    const identity = await identityOf(a);
    const captioned = { ...DEFAULT_DATASET, shards: 'c-0.tar' };
    const few = { ...a, data: { ...a.data, datasets: { captioned } } };
    const { directory, sources } = await indexDataset(few);
    expect(directory).not.toBe(plain);
    expect(sources.captioned?.shards).toHaveLength(1);
    expect(await identityOf(a)).toBe(identity);
    await identityOf(few);
  });
});

it('in the folder of the data has the name without a hash', async () => {
  await using folder = await temporaryDirectory();
  await writeTinyDataset(folder.path);
  const { directory } = await indexDataset(tinyConfig(folder.path));
  expect(directory).toBe(join(folder.path, 'index', 'bytes-T48-K4-I3'));
});
