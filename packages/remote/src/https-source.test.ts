import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { type FileServer, fileServer, someBytes, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { HttpsSource } from './https-source.js';
import { HuggingFaceSource } from './hugging-face.js';
import { netrcAuthorization } from './tokens.js';

const content = someBytes(1000);
let server: FileServer;

beforeEach(async () => {
  server = await fileServer({ 'a.tar': content });
});
afterEach(() => server[Symbol.asyncDispose]());

const range = { first: 10, end: 20 };

/** The error of a status and of a read, which must be the same sentence. */
async function failure(source: HttpsSource, path: string): Promise<WeftError> {
  const thrown: unknown = await source
    .fetch(path, range, { bytes: 1000, version: null })
    .catch((error: unknown) => error);
  if (!WeftError.is(thrown)) throw new Error('it was read', { cause: thrown });
  return thrown;
}

describe('a web server', () => {
  it('tells size and version, and serves ranges', async () => {
    const source = new HttpsSource();
    const status = await source.status(`${server.url}/a.tar`);
    expect(status).toEqual({ bytes: 1000, version: expect.stringMatching(/^[0-9a-f]{32}$/) as string });
    expect(await source.fetch(`${server.url}/a.tar`, range, status)).toEqual(content.slice(10, 20));
  });

  it('may hold an empty file', async () => {
    server.files.set('empty', new Uint8Array());
    expect(await new HttpsSource().status(`${server.url}/empty`)).toMatchObject({ bytes: 0 });
  });

  it('that does not serve ranges is refused, without reading the file', async () => {
    server.intercept = (_, response) => {
      response.writeHead(200, { 'Content-Length': content.length }).end(content);
      return true;
    };
    const path = `${server.url}/a.tar`;
    const expected = {
      code: 'failed_precondition',
      message: `${path} cannot be read in parts: its server answers 200 to a request of a range`,
      hint: 'use a server that serves ranges, or copy the data to a folder',
    };
    expect(await failure(new HttpsSource(), path)).toMatchObject(expected);
    await expect(new HttpsSource().status(path)).rejects.toMatchObject(expected);
  });

  it('that redirects in a circle is refused', async () => {
    server.intercept = (_, response) => {
      response.writeHead(302, { Location: '/again' }).end();
      return true;
    };
    expect((await failure(new HttpsSource(), `${server.url}/a.tar`)).message).toMatch(/redirects in a circle$/);
  });

  it('that cannot be reached is named', async () => {
    const url = server.url;
    await server[Symbol.asyncDispose]();
    expect(await failure(new HttpsSource(), `${url}/a.tar`)).toMatchObject({
      code: 'unavailable',
      message: `${url}/a.tar cannot be read: ${new URL(url).host} cannot be reached (ECONNREFUSED)`,
      hint: 'check the address and the network of this machine',
    });
    server = await fileServer({});
  });

  it('has no listings, and says what to set', async () => {
    await expect(new HttpsSource().list(`${server.url}/data`)).rejects.toMatchObject({
      code: 'invalid_argument',
      hint: expect.stringContaining('data.datasets.<dataset>.shards') as string,
    });
  });

  it('gets credentials, and no host that it redirects to does', async () => {
    await using other = await fileServer({ 'b.tar': content });
    const seen: (string | undefined)[] = [];
    server.intercept = (request, response) => {
      seen.push(request.headers.authorization);
      response.writeHead(302, { Location: `${other.url}/b.tar?signature=1` }).end();
      return true;
    };
    other.intercept = (request, response) => {
      seen.push(request.headers.authorization);
      const [first, last] = (request.headers.range ?? '').replace('bytes=', '').split('-').map(Number);
      response.writeHead(206, { 'Content-Range': `bytes ${first}-${last}/1000` });
      response.end(content.subarray(first, (last ?? 0) + 1));
      return true;
    };
    const source = new HttpsSource({ authorization: () => Promise.resolve('Bearer secret') });
    const known = { bytes: 1000, version: null };
    expect(await source.fetch(`${server.url}/a.tar`, range, known)).toEqual(content.slice(10, 20));
    // Where it ended is remembered.
    expect(await source.fetch(`${server.url}/a.tar`, range, known)).toEqual(content.slice(10, 20));
    expect(seen).toEqual(['Bearer secret', undefined, undefined]);
    other.intercept = (_, response, n) => {
      if (n > 2) return false;
      response.writeHead(403).end();
      return true;
    };
    other.files.set('b.tar?signature=1', content);
    expect(await source.fetch(`${server.url}/a.tar`, range, known)).toEqual(content.slice(10, 20));
  });

  it('may redirect: what changes there is noticed, also while the place is remembered', async () => {
    await using other = await fileServer({ 'b.tar': content });
    const redirects: (string | undefined)[] = [];
    server.intercept = (request, response) => {
      redirects.push(request.url);
      response.writeHead(302, { Location: `${other.url}/b.tar` }).end();
      return true;
    };
    const source = new HttpsSource();
    const path = `${server.url}/a.tar`;
    const known = await source.status(path);
    await source.fetch(path, range, known);
    expect(redirects).toHaveLength(1);
    other.files.set('b.tar', someBytes(1000, 7));
    await expect(source.fetch(path, range, known)).rejects.toThrow(`the shard ${path} has changed`);
    const now = await source.status(path);
    expect(now.version).not.toBe(known.version);
    expect(await source.fetch(path, range, now)).toEqual(someBytes(1000, 7).slice(10, 20));
  });
});

describe('credentials of a host', () => {
  it('are those of ~/.netrc, and of no other host', async () => {
    await using home = await temporaryDirectory();
    const NETRC = join(home.path, 'netrc');
    await writeFile(NETRC, 'machine a.org login me password p1\nmachine b.org\n  login you\n  password p2\n');
    expect(await netrcAuthorization('b.org', { NETRC })).toBe(`Basic ${btoa('you:p2')}`);
    expect(await netrcAuthorization('c.org', { NETRC })).toBeUndefined();
    expect(await netrcAuthorization('b.org', { NETRC: join(home.path, 'none') })).toBeUndefined();
  });

  it('may hold a #, which begins a comment elsewhere', async () => {
    await using home = await temporaryDirectory();
    const NETRC = join(home.path, 'netrc');
    await writeFile(
      NETRC,
      '# machine a.org password no\nmachine a.org login me#1 password p#2 # password no\nmachine b.org login you password #p3\n',
    );
    expect(await netrcAuthorization('a.org', { NETRC })).toBe(`Basic ${btoa('me#1:p#2')}`);
    expect(await netrcAuthorization('b.org', { NETRC })).toBe(`Basic ${btoa('you:#p3')}`);
  });
});

describe('a Hugging Face hub', () => {
  it('lists a data set of a revision page by page, and reads its files with the token', async () => {
    await using home = await temporaryDirectory();
    await mkdir(join(home.path, 'hub'), { recursive: true });
    await writeFile(join(home.path, 'token'), 'hf_secret\n');
    const seen: string[] = [];
    server.files.set('datasets/o/n/resolve/v%201/train/a.tar', content);
    server.intercept = (request, response) => {
      seen.push(`${request.url} ${request.headers.authorization}`);
      const tree = '/api/datasets/o/n/tree/v%201/train';
      const large = { type: 'file', path: 'train/a.tar', size: 130, oid: 'git', lfs: { oid: 'sha', size: 1000 } };
      if (request.url === `${tree}?recursive=true`) {
        const link = `<${server.url}${tree}?recursive=true&cursor=2>; rel="next"`;
        response.writeHead(200, { Link: link }).end(JSON.stringify([{ type: 'directory', path: 'train/x' }, large]));
      } else if (request.url === `${tree}?recursive=true&cursor=2`)
        response.end(JSON.stringify([{ type: 'file', path: 'train/x/b.txt', size: 3, oid: 'git2' }]));
      else return false;
      return true;
    };
    const source = new HuggingFaceSource({ HF_ENDPOINT: `${server.url}/`, HF_HOME: home.path });
    const first = await source.list('hf://datasets/o/n@v%201/train');
    const second = await source.list('hf://datasets/o/n@v%201/train', first.next);
    expect(second.next).toBeUndefined();
    expect([...first.blobs, ...second.blobs]).toEqual([
      { name: 'a.tar', bytes: 1000, version: 'sha' },
      { name: 'x/b.txt', bytes: 3, version: 'git2' },
    ]);
    const bytes = await source.fetch('hf://datasets/o/n@v%201/train/a.tar', range, { bytes: 1000, version: null });
    expect(bytes).toEqual(content.slice(10, 20));
    expect(new Set(seen.map((each) => each.split(' ')[2]))).toEqual(new Set(['hf_secret']));
  });

  it('names the version of a large file where it is stored, whatever the ETag there', async () => {
    server.intercept = (request, response) => {
      if (request.url?.startsWith('/datasets/') !== true) return false;
      response.writeHead(302, { Location: '/a.tar', 'X-Linked-ETag': '"sha"' }).end();
      return true;
    };
    const source = new HuggingFaceSource({ HF_ENDPOINT: server.url, HF_TOKEN: 'x' });
    const path = 'hf://datasets/o/n/a.tar';
    expect(await source.status(path)).toEqual({ bytes: 1000, version: 'sha' });
    const other = new HuggingFaceSource({ HF_ENDPOINT: server.url, HF_TOKEN: 'x' });
    await expect(other.fetch(path, range, { bytes: 1000, version: 'old' })).rejects.toThrow('has changed');
  });
});
