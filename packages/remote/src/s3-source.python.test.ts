import type { BlobStatus } from '@weft/files';
import { hasMoto, type MotoServer, motoServer, someBytes, type Trouble, troubledProxy } from '@weft/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { S3Source } from './s3-source.js';
import { withRetries } from './with-retries.js';

const KEYS = { AWS_ACCESS_KEY_ID: 'AKIDTEST', AWS_SECRET_ACCESS_KEY: 'not-a-secret', AWS_REGION: 'us-east-1' };
const content = someBytes(5000);

let moto: MotoServer;
let before: Readonly<Record<string, string | undefined>>;

beforeAll(async () => {
  if (!hasMoto()) return;
  moto = await motoServer();
  before = { ...process.env };
  Object.assign(process.env, KEYS);
  const put = (path: string, body?: Uint8Array | string) =>
    moto.put(path, body === undefined ? undefined : Buffer.from(body));
  await put('shards');
  await put('shards/train/a.tar', content);
  await put('shards/train/deep/b.tar', 'b');
  await put('shards/train/', '');
  await put('shards/trainee/c.tar', 'c');
  for (let i = 0; i < 1005; i++) await put(`shards/many/${i}`, 'x');
});
afterAll(async () => {
  await moto?.[Symbol.asyncDispose]();
  for (const name of Object.keys(KEYS)) {
    const value = before?.[name];
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

const sourceAt = (endpoint: string) => new S3Source({ scheme: 's3', endpoint, region: null, env: process.env });

async function listed(source: S3Source, folder: string) {
  const all = [];
  let from: string | undefined;
  do {
    const { blobs, next } = await source.list(folder, from);
    all.push(...blobs);
    from = next;
  } while (from !== undefined);
  return all;
}

describe.skipIf(!hasMoto())('an S3 server of others', () => {
  it('lists what is below a folder, at any depth and over pages, with sizes and ETags', async () => {
    const source = sourceAt(moto.url);
    const found = await listed(source, 's3://shards/train');
    expect(found.map(({ name, bytes }) => [name, bytes])).toEqual([
      ['a.tar', 5000],
      ['deep/b.tar', 1],
    ]);
    expect(found[0]?.version).toMatch(/^"[0-9a-f]{32}"$/);
    expect(await source.names('s3://shards')).toEqual(['many/', 'train/', 'trainee/']);
    expect(await listed(source, 's3://shards/many')).toHaveLength(1005);
    expect(await listed(source, 's3://shards/none')).toEqual([]);
  });

  it('tells size and ETag, and serves ranges of that version alone', async () => {
    const source = sourceAt(moto.url);
    const path = 's3://shards/train/a.tar';
    const status = await source.status(path);
    expect(status.bytes).toBe(5000);
    expect(await source.fetch(path, { first: 100, end: 4999 }, status)).toEqual(content.slice(100, 4999));
    const old: BlobStatus = { ...status, version: '"00000000000000000000000000000000"' };
    await expect(source.fetch(path, { first: 0, end: 10 }, old)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `the shard ${path} has changed since it was indexed`,
    });
  });

  it('that has no such bucket or key says so', async () => {
    const source = sourceAt(moto.url);
    await expect(listed(source, 's3://nowhere/train')).rejects.toMatchObject({
      code: 'not_found',
      message: `there is no bucket nowhere at ${moto.url}`,
      hint: 'check bucket and prefix, and that data.remote.endpoint is the server that has them',
    });
    await expect(source.status('s3://shards/none.tar')).rejects.toMatchObject({
      code: 'not_found',
      message: 's3://shards/none.tar does not exist',
    });
  });

  it('gives the bytes through errors, throttling, broken and slow connections', async () => {
    const troubles: Trouble[] = ['slowDown', 'error', 'reset', 'cut', 'slow', 'fine'];
    await using proxy = await troubledProxy({
      port: moto.port,
      trouble: (n) => troubles[n % troubles.length] ?? 'fine',
    });
    const source = sourceAt(proxy.url);
    const pause = () => Promise.resolve();
    const attempt = <T>(ask: () => Promise<T>) => withRetries(ask, { patienceMs: 60_000, pause });
    const status = await attempt(() => source.status('s3://shards/train/a.tar'));
    for (let first = 0; first < 5000; first += 500) {
      const read = await attempt(() => source.fetch('s3://shards/train/a.tar', { first, end: first + 500 }, status));
      expect(read).toEqual(content.slice(first, first + 500));
    }
    for (const trouble of troubles) expect(proxy.counts[trouble]).toBeGreaterThan(0);
  });
});
