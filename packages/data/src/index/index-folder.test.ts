import { cp, readdir, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
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

it('in the folder of the data has the name without a hash', async () => {
  await using folder = await temporaryDirectory();
  await writeTinyDataset(folder.path);
  const { directory } = await indexDataset(tinyConfig(folder.path));
  expect(directory).toBe(join(folder.path, 'index', 'bytes-T48-K4-I3'));
});
