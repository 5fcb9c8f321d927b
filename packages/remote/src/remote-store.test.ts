import { access, mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { startTicks } from '@weft/files';
import { type FileServer, fileServer, someBytes, type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BlockCache } from './block-cache.js';
import { HttpsSource } from './https-source.js';
import { RemoteStore } from './remote-store.js';
import { remoteCounts, shardStore } from './shard-store.js';

const BLOCK = 1024;
const content = someBytes(10 * BLOCK + 100);

let directory: TemporaryDirectory;
let server: FileServer;
let pauses: number[];

beforeEach(async () => {
  directory = await temporaryDirectory();
  server = await fileServer({ 'a.tar': content });
  pauses = [];
});
afterEach(async () => {
  await server[Symbol.asyncDispose]();
  await directory.remove();
});

function storeWith({
  mostBytes = 100 * BLOCK,
  onWarning = () => {},
}: Partial<ConstructorParameters<typeof BlockCache>[0]> = {}) {
  const source = new HttpsSource();
  return new RemoteStore({
    sourceOf: () => source,
    cache: new BlockCache({ directory: directory.path, mostBytes, onWarning }),
    blockBytes: BLOCK,
    retries: {
      random: () => 0,
      pause: (durationMs) => {
        pauses.push(durationMs);
        return Promise.resolve();
      },
    },
  });
}

async function read(store: RemoteStore, position: number, bytes: number): Promise<Uint8Array> {
  const blob = await store.open(`${server.url}/a.tar`);
  const into = new Uint8Array(bytes);
  await blob.read(into, position);
  return into;
}

const fetches = () => server.requests.filter((each) => !each.endsWith('bytes=0-0'));

describe('reading at a distance', () => {
  it('gives the bytes of any range, also over blocks and at the end', async () => {
    const store = storeWith();
    for (const [position, bytes] of [
      [0, 1],
      [BLOCK - 1, 2],
      [3 * BLOCK, BLOCK],
      [100, 5000],
      [10 * BLOCK + 99, 1],
      [0, content.length],
    ] as const)
      expect(await read(store, position, bytes)).toEqual(content.slice(position, position + bytes));
    await expect(read(store, content.length - 1, 2)).rejects.toMatchObject({ code: 'corrupt_data' });
    expect(store.counts.fetchedBytes).toBe(content.length);
  });

  it('fetches every block once, whatever reads it at the same time', async () => {
    const store = storeWith();
    const reads = Array.from({ length: 40 }, (_, i) => read(store, (i % 10) * BLOCK + i, 10));
    await Promise.all(reads);
    expect(new Set(fetches()).size).toBe(10);
    expect(fetches()).toHaveLength(10);
  });

  it('fetches nothing that another process has fetched', async () => {
    await read(storeWith(), 0, content.length);
    const before = fetches().length;
    const other = storeWith();
    expect(await read(other, 500, 4000)).toEqual(content.slice(500, 4500));
    expect(fetches()).toHaveLength(before);
    expect(other.counts).toMatchObject({ fetchedBytes: 0, cacheMisses: 0, cacheHits: 5 });
  });

  it('lets one of two stores fetch a block while the other waits for it', async () => {
    const [one, other] = [storeWith(), storeWith()];
    await Promise.all([one.open(`${server.url}/a.tar`), other.open(`${server.url}/a.tar`)]);
    const reads = [read(one, 2 * BLOCK + 1, 10), read(other, 2 * BLOCK + 1, 10)];
    expect(await Promise.all(reads)).toEqual([content.slice(2049, 2059), content.slice(2049, 2059)]);
    expect(fetches()).toHaveLength(1);
  });

  it('reads ahead of whoever reads from the beginning, and not of others', async () => {
    const store = storeWith();
    await read(store, 5 * BLOCK + 7, 10);
    expect(fetches()).toHaveLength(1);
    const blob = await store.open(`${server.url}/a.tar`);
    await blob.read(new Uint8Array(10), 0);
    await store.prepare([]);
    await expect.poll(() => fetches().length).toBe(5);
  });

  it('prepares what was announced, so that nobody waits for it', async () => {
    const store = storeWith();
    const path = `${server.url}/a.tar`;
    const known = await store.status(path);
    await store.prepare([
      { path, known, offset: BLOCK - 10, bytes: 20 },
      { path, known, offset: 7 * BLOCK, bytes: 5 },
      { path, known, offset: 7 * BLOCK + 9, bytes: 5 },
    ]);
    expect(fetches()).toHaveLength(3);
    await read(store, 7 * BLOCK + 9, 5);
    expect(store.counts.cacheMisses).toBe(0);
  });

  it('prepares under the version that a store has where the index knows none', async () => {
    const store = storeWith();
    const path = `${server.url}/a.tar`;
    const known = { bytes: content.length, version: null };
    await store.prepare([
      { path, known, offset: 0, bytes: 20 },
      { path, known, offset: 7 * BLOCK, bytes: 5 },
    ]);
    expect(server.requests.filter((each) => each.endsWith('bytes=0-0'))).toHaveLength(1);
    const blob = await store.open(path, known);
    await blob.read(new Uint8Array(5), 7 * BLOCK);
    expect(fetches()).toHaveLength(2);
    expect(store.counts.cacheMisses).toBe(0);
  });
});

describe('a server without versions', () => {
  /** Neither ETag nor the time of the change. */
  const withoutVersions = () => {
    server.intercept = (request, response) => {
      const [first = 0, last = 0] = (request.headers.range ?? '').replace('bytes=', '').split('-').map(Number);
      const bytes = server.files.get('a.tar')!;
      response.writeHead(206, { 'Content-Range': `bytes ${first}-${last}/${bytes.length}` });
      response.end(bytes.subarray(first, last + 1));
      return true;
    };
  };

  it('may replace a file by one of the same size: every opening reads what is there', async () => {
    withoutVersions();
    const store = storeWith();
    expect(await read(store, 0, content.length)).toEqual(content);
    const other = someBytes(content.length, 7);
    server.files.set('a.tar', other);
    expect(await read(store, 0, content.length)).toEqual(other);
    expect(await read(storeWith(), 0, content.length)).toEqual(other);
  });

  it('is asked once for each block while a file is open', async () => {
    withoutVersions();
    const blob = await storeWith().open(`${server.url}/a.tar`);
    for (const position of [BLOCK, BLOCK + 5, BLOCK]) await blob.read(new Uint8Array(4), position);
    expect(fetches()).toHaveLength(1);
  });
});

describe('the cache', () => {
  const sizes = async () => {
    const folders = (await readdir(directory.path)).filter((name) => !name.startsWith('.'));
    const names = await Promise.all(folders.map((folder) => readdir(join(directory.path, folder))));
    return names.flat();
  };

  it('stays within its bound, and drops what was read longest ago', async () => {
    const store = storeWith({ mostBytes: 4 * BLOCK });
    for (let block = 0; block < 10; block++) await read(store, block * BLOCK + 1, 10);
    const kept = await sizes();
    expect(kept.length).toBeLessThanOrEqual(4);
    expect(kept.some((name) => name.endsWith('-9'))).toBe(true);
    expect(kept.some((name) => name.endsWith('-0'))).toBe(false);
    for (let block = 0; block < 10; block++)
      expect(await read(store, block * BLOCK + 1, 10)).toEqual(content.slice(block * BLOCK + 1, block * BLOCK + 11));
  });

  it('keeps what was read lately rather than what was written lately', async () => {
    const store = storeWith({ mostBytes: 4 * BLOCK });
    for (const block of [0, 1, 2]) await read(store, block * BLOCK + 1, 10);
    const [folder = '', name = ''] = await pathOfBlock(0);
    for (const [block, age] of [
      [0, 300],
      [1, 200],
      [2, 100],
    ] as const) {
      const [at = '', file = ''] = await pathOfBlock(block);
      await utimes(join(directory.path, at, file), Date.now() / 1000 - age, Date.now() / 1000 - age);
    }
    await read(store, 1, 10);
    for (const block of [3, 4, 5]) await read(store, block * BLOCK + 1, 10);
    expect(await sizes()).toContain(name);
    expect(folder).toMatch(/^[0-9a-f]{2}$/);
  });

  async function pathOfBlock(block: number): Promise<readonly string[]> {
    for (const folder of await readdir(directory.path)) {
      if (folder.startsWith('.')) continue;
      const name = (await readdir(join(directory.path, folder))).find((each) => each.endsWith(`-${block}`));
      if (name !== undefined) return [folder, name];
    }
    return [];
  }

  it('does not believe a block that was cut off, nor one that was never finished', async () => {
    await read(storeWith(), 1, 10);
    const [folder = '', name = ''] = await pathOfBlock(0);
    const path = join(directory.path, folder, name);
    await writeFile(path, content.slice(0, 100));
    await writeFile(`${path}.000000000000.part`, 'x');
    expect(await read(storeWith(), 1, 10)).toEqual(content.slice(1, 11));
    expect(fetches()).toHaveLength(2);
  });

  it('takes over what a killed process had claimed', async () => {
    const store = storeWith();
    await read(store, 1, 10);
    const [folder = '', name = ''] = await pathOfBlock(0);
    await rm(join(directory.path, folder, name));
    // No process has this number.
    await writeFile(join(directory.path, folder, `${name}.claim`), '4194999 1');
    expect(await read(storeWith(), 1, 10)).toEqual(content.slice(1, 11));
    expect(await readdir(join(directory.path, folder))).toEqual([name]);
  });

  it('keeps the claims of processes that live, however old they are, and removes what others left', async () => {
    await read(storeWith(), 1, 10);
    const [folder = '', name = ''] = await pathOfBlock(0);
    const block = join(directory.path, folder, name.replace(/-0$/, ''));
    const long = Date.now() / 1000 - 7200;
    const put = async (path: string, text: string) => {
      await writeFile(path, text);
      await utimes(path, long, long);
    };
    const ticks = await startTicks(process.pid);
    await put(`${block}-5.claim`, `${process.pid} ${ticks}`);
    await put(`${block}-6.claim`, '4194999 1');
    await put(`${block}-7.000000000000.part`, 'x');
    await put(join(directory.path, '.owner-4194999-1-000000000000'), '4194999 1');
    const owners = async () => (await readdir(directory.path)).filter((each) => each.startsWith('.owner-'));
    const before = await owners();
    await read(storeWith(), BLOCK + 1, 10);
    const left = await readdir(join(directory.path, folder));
    expect(left).toContain(`${name.replace(/-0$/, '')}-5.claim`);
    expect(left.filter((each) => /-6\.claim$|\.part$/.test(each))).toEqual([]);
    expect(await owners()).not.toContain('.owner-4194999-1-000000000000');
    for (const own of before.filter((each) => each.includes(`-${process.pid}-`))) expect(await owners()).toContain(own);
  });

  it('removes nothing but its own: not what else a person keeps in the folder', async () => {
    const others = [
      'dataset/train-000.tar',
      'dataset/download.part',
      'ab/notes.txt',
      'cd/0123456789abcdef0123456789abcdef01234567-0/inside.tar',
      'top.tar',
    ];
    for (const other of others) {
      await mkdir(join(directory.path, other, '..'), { recursive: true });
      await writeFile(join(directory.path, other), 'x'.repeat(10 * BLOCK));
      await utimes(join(directory.path, other), 1, 1);
    }
    const store = storeWith({ mostBytes: 4 * BLOCK });
    for (let block = 0; block < 10; block++) await read(store, block * BLOCK + 1, 10);
    for (const other of others) await access(join(directory.path, other));
  });

  it('lies in a folder of its own below the one that a person names', async () => {
    const settings = { endpoint: null, region: null, cacheDirectory: directory.path, cacheBytes: 2 ** 26 };
    const before = remoteCounts().fetchedBytes;
    const blob = await shardStore(settings).open(`${server.url}/a.tar`);
    await blob.read(new Uint8Array(10), 1);
    expect(remoteCounts().fetchedBytes - before).toBe(content.length);
    expect(await readdir(directory.path)).toEqual(['weft-blocks']);
  });

  it('is refused where it cannot be written, with the setting', async () => {
    await rm(directory.path, { recursive: true });
    await writeFile(directory.path, 'a file');
    await expect(read(storeWith(), 0, 1)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining(`the cache of remote data cannot be written to ${directory.path}: `) as string,
      hint: expect.stringContaining('data.remote.cacheDirectory') as string,
    });
    await rm(directory.path);
    await mkdir(directory.path);
  });

  it('is not shared by versions of a file', async () => {
    await read(storeWith(), 0, content.length);
    const changed = someBytes(content.length, 7);
    server.files.set('a.tar', changed);
    expect(await read(storeWith(), 0, content.length)).toEqual(changed);
  });
});

describe('trouble', () => {
  const once = (answer: (response: import('node:http').ServerResponse) => void, times = 1) => {
    let left = times;
    server.intercept = (request, response) => {
      if (request.headers.range === 'bytes=0-0' || left-- <= 0) return false;
      answer(response);
      return true;
    };
  };

  it('of a moment is waited out: errors, broken and short answers', async () => {
    const troubles: ((response: import('node:http').ServerResponse) => void)[] = [
      (response) => response.writeHead(500).end(),
      (response) => response.writeHead(429).end(),
      (response) => response.destroy(),
      (response) => {
        response.writeHead(206, { 'Content-Range': `bytes 0-1023/${content.length}`, 'Content-Length': 1024 });
        response.write('half', () => response.destroy());
      },
    ];
    for (const [i, trouble] of troubles.entries()) {
      once(trouble);
      const store = storeWith();
      expect(await read(store, i * BLOCK + 1, 10)).toEqual(content.slice(i * BLOCK + 1, i * BLOCK + 11));
      expect(store.counts.retries).toBe(1);
    }
  });

  it('that lasts ends in a sentence with the number of attempts, after pauses that double up to a bound', async () => {
    once((response) => response.writeHead(503).end(), Number.POSITIVE_INFINITY);
    await expect(read(storeWith(), 1, 10)).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/a\.tar cannot be read now: the server answers 503 .*\(\d+ attempts\)$/) as string,
    });
    expect(pauses.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(Math.max(...pauses)).toBe(10_000);
    expect(pauses.reduce((sum, each) => sum + each, 0)).toBeLessThanOrEqual(300_000);
  });

  it('waits as long as the server asks', async () => {
    once((response) => response.writeHead(503, { 'Retry-After': '7' }).end());
    await read(storeWith(), 1, 10);
    expect(pauses).toEqual([7000]);
  });

  it.each([
    [404, 'not_found', 'does not exist'],
    [403, 'failed_precondition', 'is denied'],
    [401, 'failed_precondition', 'is denied'],
    [501, 'failed_precondition', 'the server answers 501'],
  ])('is not tried again after %i', async (status, code, sentence) => {
    server.intercept = (_, response) => {
      response.writeHead(status).end();
      return true;
    };
    await expect(read(storeWith(), 1, 10)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(sentence) as string,
    });
    expect(server.requests).toHaveLength(1);
  });

  it('in the middle of a listing costs its page alone', async () => {
    const pages: string[] = [];
    const source = new HttpsSource();
    source.list = (_, from = '0') => {
      pages.push(from);
      if (pages.filter((each) => each === from).length < 2 && from !== '0')
        return Promise.reject(new WeftError('unavailable', 'of a moment'));
      const next = Number(from) + 1;
      return Promise.resolve({
        blobs: [{ name: from, bytes: 1, version: null }],
        next: next < 3 ? `${next}` : undefined,
      });
    };
    const store = new RemoteStore({
      sourceOf: () => source,
      cache: new BlockCache({ directory: directory.path, mostBytes: BLOCK, onWarning: () => {} }),
      retries: { pause: () => Promise.resolve() },
    });
    expect((await store.list('s3://b')).map(({ name }) => name)).toEqual(['0', '1', '2']);
    expect(pages).toEqual(['0', '1', '1', '2', '2']);
  });

  it('is a file that changed while it was open', async () => {
    const store = storeWith();
    const blob = await store.open(`${server.url}/a.tar`);
    server.files.set('a.tar', someBytes(content.length, 7));
    await expect(blob.read(new Uint8Array(10), 1)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: `the shard ${server.url}/a.tar has changed since it was indexed`,
    });
    await expect(store.open(`${server.url}/a.tar`, { bytes: 5, version: null })).rejects.toThrow('has changed');
  });
});
