import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { fetchWheels } from './fetch-wheels.mjs';
import { tensorflowBuild } from './tensorflow-build.mjs';
import { findTensorFlow } from './tensorflow-library.mjs';
import { serve, simpleIndex, smallWheel } from './testing/wheels.js';
import type { SetupProgress, Wheel } from './types.mjs';

let home: string;
let closing: (() => Promise<void>)[];
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'weft-fetch-'));
  closing = [];
});
afterEach(async () => {
  for (const close of closing) await close();
  rmSync(home, { recursive: true });
});

/** A host without Python: nothing is on its path. */
const environment = (more: NodeJS.ProcessEnv = {}) => ({
  PATH: join(home, 'no-programs'),
  HOME: home,
  PIP_CONFIG_FILE: '/dev/null',
  WEFT_CACHE_DIR: join(home, 'cache'),
  ...more,
});
const start = async (...parameters: Parameters<typeof serve>) => {
  const server = await serve(...parameters);
  closing.push(server.close);
  return server;
};
const quiet = () => {};
const cached = () => readdirSync(join(home, 'cache', 'tensorflow'));

const fetchTensorflow = (environment: NodeJS.ProcessEnv, onProgress: (progress: SetupProgress) => void, wheel: Wheel) =>
  fetchWheels(tensorflowBuild('cpu', environment, [wheel]), environment, onProgress);

describe('Node without pip', () => {
  it('fetches the wheel from an HTML index, unpacks the two libraries and leaves nothing else', async () => {
    const { bytes, wheel } = smallWheel();
    const { url } = await start(simpleIndex(wheel.file, bytes));
    const env = environment({ PIP_INDEX_URL: `${url}/simple` });
    const seen: SetupProgress[] = [];
    await fetchTensorflow(env, (progress) => seen.push(progress), wheel);

    const library = findTensorFlow({ environment: env });
    expect(library).toMatchObject({ found: true, source: 'cache', variant: 'cpu', version: '2.21.0' });
    if (!library.found) return;
    expect(readdirSync(library.directory).sort()).toEqual(['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']);
    expect(readFileSync(join(library.directory, 'libtensorflow_framework.so.2'), 'utf8')).toBe('elf');
    expect(cached()).toEqual(['2.21.0-cpu']);
    expect(seen.at(-1)).toMatchObject({ stage: 'unpack', bytes: 300_003, totalBytes: 300_003 });
    expect(seen.some(({ stage }) => stage === 'download')).toBe(true);
  });

  it('reads a JSON index, follows redirects and sends the password of the index to its own host only', async () => {
    const { bytes, wheel } = smallWheel();
    const files = await start((_request, response) => response.end(bytes));
    const index = await start((request, response) => {
      if (request.headers.authorization !== `Basic ${Buffer.from('me:p@ss').toString('base64')}`) {
        response.statusCode = 401;
        response.end();
      } else if (request.url === '/tensorflow-cpu/') {
        response.statusCode = 302;
        response.setHeader('location', '/pages/tensorflow-cpu/');
        response.end();
      } else if (request.url === '/pages/tensorflow-cpu/') {
        response.setHeader('content-type', 'application/vnd.pypi.simple.v1+json');
        const url = `${index.url}/wheels/${wheel.file}`;
        response.end(JSON.stringify({ files: [{ filename: wheel.file, url }] }));
      } else {
        response.statusCode = 307;
        response.setHeader('location', `${files.url}${request.url}`);
        response.end();
      }
    });
    const address = index.url.replace('//', '//me:p%40ss@');
    await fetchTensorflow(environment({ PIP_INDEX_URL: address }), quiet, wheel);
    expect(cached()).toEqual(['2.21.0-cpu']);
    expect(files.requests[0]?.headers.authorization).toBeUndefined();
  });

  it('takes the wheel from a folder in the settings of pip', async () => {
    const { bytes, wheel } = smallWheel();
    writeFileSync(join(home, wheel.file), bytes);
    await fetchTensorflow(environment({ PIP_FIND_LINKS: home }), quiet, wheel);
    expect(cached()).toEqual(['2.21.0-cpu']);
  });

  it('refuses a file that is not the pinned one, and leaves nothing behind', async () => {
    const { wheel } = smallWheel();
    const { url } = await start(simpleIndex(wheel.file, smallWheel('other').bytes));
    const fetching = fetchTensorflow(environment({ PIP_INDEX_URL: `${url}/simple` }), quiet, wheel);
    await expect(fetching).rejects.toThrow(/SHA-256 .* not the published file/);
    expect(cached()).toEqual([]);
  });

  it('says what was tried, without the password, when no index has the wheel', async () => {
    const { wheel } = smallWheel();
    const { url } = await start((_request, response) => {
      response.statusCode = 404;
      response.end();
    });
    const address = url.replace('//', '//me:secret@');
    const fetching = fetchTensorflow(environment({ PIP_INDEX_URL: address }), quiet, wheel);
    await expect(fetching).rejects.toMatchObject({
      message: expect.stringMatching(/could not be fetched: .*127\.0\.0\.1.*lacks it/),
      hint: expect.stringMatching(/^install pip, or set PIP_INDEX_URL to an index that has tensorflow-cpu,/),
    });
    await expect(fetching).rejects.not.toThrow(/secret/);
  });

  it('says what to set when there is neither pip nor an index', async () => {
    await expect(fetchTensorflow(environment(), quiet, smallWheel().wheel)).rejects.toMatchObject({
      name: 'NativeLibraryError',
      message: 'TensorFlow 2.21.0 (cpu) cannot be fetched: this host has no pip, and no package index is configured',
      hint: expect.stringMatching(/^install pip, or set PIP_INDEX_URL/),
    });
  });
});

describe('two set-ups at once', () => {
  it('download once: the second waits for the first', async () => {
    const { bytes, wheel } = smallWheel();
    const { url, requests } = await start(simpleIndex(wheel.file, bytes));
    const env = environment({ PIP_INDEX_URL: `${url}/simple` });
    const notes: string[] = [];
    const note = (progress: SetupProgress) => progress.stage === 'note' && notes.push(progress.text);
    await Promise.all([fetchTensorflow(env, note, wheel), fetchTensorflow(env, note, wheel)]);
    expect(requests.filter((request) => request.url?.startsWith('/files/'))).toHaveLength(1);
    expect(notes.some((text) => text.startsWith('waiting for another set-up'))).toBe(true);
    expect(cached()).toEqual(['2.21.0-cpu']);
  });

  it('pass over a lock whose holder died', async () => {
    const { bytes, wheel } = smallWheel();
    writeFileSync(join(home, wheel.file), bytes);
    const env = environment({ PIP_FIND_LINKS: home });
    await fetchTensorflow(env, quiet, wheel);
    const folder = join(home, 'cache', 'tensorflow');
    rmSync(join(folder, '2.21.0-cpu'), { recursive: true });
    const { hostname } = await import('node:os');
    writeFileSync(join(folder, 'set-up.lock'), JSON.stringify({ host: hostname(), processId: 2 ** 22 + 1 }));
    await fetchTensorflow(env, quiet, wheel);
    expect(cached()).toEqual(['2.21.0-cpu']);
  });
});
