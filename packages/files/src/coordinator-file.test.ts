import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { readCoordinatorFile, removeCoordinatorFile, writeCoordinatorFile } from './coordinator-file.js';
import { Home } from './home.js';

const content = { address: '127.0.0.1:7070', metricsAddress: '127.0.0.1:9', processId: 7, version: '0.1.0' };

it('the coordinator of a home is found until it removes its file, also in a home that is made for it', async () => {
  await using folder = await temporaryDirectory();
  const home = new Home(join(folder.path, 'new', 'home'));
  expect(await readCoordinatorFile(home)).toBeUndefined();
  await writeCoordinatorFile(home, content);
  expect(await readCoordinatorFile(home)).toEqual(content);
  await removeCoordinatorFile(home);
  await removeCoordinatorFile(home);
  expect(await readCoordinatorFile(home)).toBeUndefined();
});

it.each([['{"address": "127.'], ['[]'], ['null'], ['"text"'], ['{"address": 7070}'], ['{}']])(
  'a file that holds %s names no coordinator',
  async (text) => {
    await using folder = await temporaryDirectory();
    await writeFile(new Home(folder.path).coordinatorFile, text);
    expect(await readCoordinatorFile(new Home(folder.path))).toBeUndefined();
  },
);

it('the address is enough, as older versions wrote it', async () => {
  await using folder = await temporaryDirectory();
  await writeFile(new Home(folder.path).coordinatorFile, '{"address":"10.0.0.1:7070"}');
  expect(await readCoordinatorFile(new Home(folder.path))).toMatchObject({
    address: '10.0.0.1:7070',
    metricsAddress: '',
    version: '',
  });
});

it('a folder in its place names no coordinator', async () => {
  await using folder = await temporaryDirectory();
  await mkdir(new Home(folder.path).coordinatorFile);
  expect(await readCoordinatorFile(new Home(folder.path))).toBeUndefined();
});
