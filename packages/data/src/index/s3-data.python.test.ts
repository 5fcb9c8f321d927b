import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { hasMoto, type MotoServer, motoServer, type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { tinyConfig, writeTinyDataset } from '../testing/tiny-dataset.js';
import { Dataset } from './dataset.js';
import { indexDataset } from './index-dataset.js';
import type { DatasetConfig } from './manifest.js';

let folder: TemporaryDirectory;
let moto: MotoServer;
let local: DatasetConfig;
let remote: DatasetConfig;

const put = (path: string, body?: Uint8Array) => moto.put(`shards${path}`, body);

beforeAll(async () => {
  if (!hasMoto()) return;
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDTEST');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'not-a-secret');
  vi.stubEnv('AWS_REGION', 'us-east-1');
  folder = await temporaryDirectory();
  moto = await motoServer();
  local = tinyConfig(join(folder.path, 'data'));
  await writeTinyDataset(local.data.directory);
  await put('');
  for (const entry of await readdir(local.data.directory, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) {
      const path = join(entry.parentPath, entry.name);
      await put(path.slice(folder.path.length), await readFile(path));
    }
  remote = {
    ...local,
    data: {
      ...local.data,
      directory: 's3://shards/data',
      index: join(folder.path, 'index'),
      remote: { ...local.data.remote, endpoint: moto.url, cacheDirectory: join(folder.path, 'cache') },
    },
  };
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await moto?.[Symbol.asyncDispose]();
  await folder?.remove();
});

const open = async () => (await Dataset.open(remote)).close();

describe.skipIf(!hasMoto())('data in a bucket', () => {
  it('have the index of the same data in a folder, and name what is left out', async () => {
    await put('/data/text/notes.pdf', Buffer.from('x'));
    await put('/data/texts/a.jsonl', Buffer.from('{"text":"a"}'));
    const there = await indexDataset(remote);
    expect(there.sources).toEqual((await indexDataset(local)).sources);
    expect(there.leftOut.map(({ names }) => names)).toEqual(expect.arrayContaining([['texts/'], ['text/notes.pdf']]));
    expect((await indexDataset(remote)).built).toBe(false);
    await open();
  });

  it('are refused where a shard changed, is new, or is gone', async () => {
    await indexDataset(remote);
    const path = '/data/captioned/c-0.tar';
    const content = await readFile(join(folder.path, path));
    const changed = Buffer.from(content);
    changed[700]! ^= 1;
    await put(path, changed);
    await expect(open()).rejects.toThrow(
      'the shard s3://shards/data/captioned/c-0.tar has changed since it was indexed',
    );
    await put(path, content);
    await open();
    await put('/data/captioned/c-9.tar', content);
    await expect(open()).rejects.toThrow('the shard s3://shards/data/captioned/c-9.tar is not in the data index');
    await moto.remove('shards/data/captioned/c-9.tar');
    await moto.remove(`shards${path}`);
    await expect(open()).rejects.toThrow(
      'the shard s3://shards/data/captioned/c-0.tar is in the data index, but it is missing',
    );
  });
});
