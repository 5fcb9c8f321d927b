import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { deferred } from '@weft/common';
import { fileServer, someBytes, type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { BlockCache } from './block-cache.js';
import { HttpsSource } from './https-source.js';
import { S3Source } from './s3-source.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const library = join(root, 'packages/remote/dist/index.js');
const MIB = 2 ** 20;
/** Three blocks of 8 MiB and a part of one. */
const content = someBytes(25 * MIB);
const sha256 = createHash('sha256').update(content).digest('hex');

let directory: TemporaryDirectory;
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(() => directory.remove());

/** A process that reads a file from its beginning to its end, and prints its hash. */
function reader(url: string) {
  const settings = {
    endpoint: null,
    region: null,
    cacheDirectory: join(directory.path, 'cache'),
    cacheBytes: 256 * MIB,
  };
  const program = `
    import { createHash } from 'node:crypto';
    import { shardStore } from ${JSON.stringify(library)};
    const blob = await shardStore(${JSON.stringify(settings)}).open(${JSON.stringify(url)});
    const hash = createHash('sha256');
    const part = new Uint8Array(1 << 20);
    for (let at = 0; at < blob.bytes; at += part.length) {
      const into = part.subarray(0, Math.min(part.length, blob.bytes - at));
      await blob.read(into, at);
      hash.update(into);
    }
    console.log(hash.digest('hex'));`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['ignore', 'pipe', 'pipe'] });
  let printed = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      printed += chunk;
    });
  const ended = new Promise<string>((resolve) => child.once('close', () => resolve(printed.trim())));
  return { child, ended };
}

describe('processes that share a cache', () => {
  beforeAll(() => {
    execFileSync('npx', ['tsc', '-b', 'packages/remote'], { cwd: root, stdio: 'inherit' });
  });

  it('fetch every block once between them, and take over from one that is killed with -9', async () => {
    await using server = await fileServer({ 'a.tar': content });
    const held = deferred();
    const isFirst = (range: string | undefined) => range !== undefined && range !== 'bytes=0-0';
    server.intercept = (request) => {
      if (!isFirst(request.headers.range)) return false;
      // It is never answered.
      held.resolve();
      return true;
    };
    const first = reader(`${server.url}/a.tar`);
    await held.promise;
    first.child.kill('SIGKILL');
    await first.ended;

    server.intercept = () => false;
    server.requests.length = 0;
    const others = [reader(`${server.url}/a.tar`), reader(`${server.url}/a.tar`), reader(`${server.url}/a.tar`)];
    for (const { ended } of others) expect(await ended).toBe(sha256);
    const fetched = server.requests.filter((each) => !each.endsWith('bytes=0-0'));
    expect(fetched.toSorted()).toEqual([
      `GET /a.tar bytes=0-${8 * MIB - 1}`,
      `GET /a.tar bytes=${16 * MIB}-${24 * MIB - 1}`,
      `GET /a.tar bytes=${24 * MIB}-${25 * MIB - 1}`,
      `GET /a.tar bytes=${8 * MIB}-${16 * MIB - 1}`,
    ]);
  });
});

const mounts = (path: string) => spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', path]).status === 0;

describe('a disk that is full', () => {
  it('costs what would be kept, with one warning that names the setting', async (context) => {
    if (process.getuid?.() !== 0 || !mounts(directory.path)) return context.skip('mounting a small disk needs root');
    try {
      const warnings: string[] = [];
      const cache = new BlockCache({
        directory: join(directory.path, 'cache'),
        mostBytes: 100 * MIB,
        onWarning: (message) => warnings.push(message),
      });
      await cache.open();
      const block = (index: number, bytes: number) => ({ blob: 'b', index, bytes });
      expect(await cache.write(block(0, 100_000), someBytes(100_000))).toBe(true);
      expect(await cache.write(block(1, 100_000), someBytes(100_000))).toBe(true);
      // Half of what is there makes room.
      expect(await cache.write(block(2, 100_000), someBytes(100_000))).toBe(true);
      expect(await cache.write(block(3, 400_000), someBytes(400_000))).toBe(false);
      expect(await cache.write(block(4, 400_000), someBytes(400_000))).toBe(false);
      expect(warnings).toEqual([
        `the disk of ${join(directory.path, 'cache')} is full: what is fetched is not kept. Free space, or set data.remote.cacheDirectory to another disk`,
      ]);
    } finally {
      spawnSync('umount', [directory.path]);
    }
  });
});

const hasOpenssl = spawnSync('openssl', ['version']).status === 0;

describe.skipIf(!hasOpenssl)('a server whose certificate nobody has signed', () => {
  it('is refused with the variable to set, by https and by S3', async () => {
    const [key, cert] = [join(directory.path, 'key.pem'), join(directory.path, 'cert.pem')];
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'];
    execFileSync('openssl', [...request, '-subj', '/CN=localhost', '-keyout', key, '-out', cert], { stdio: 'pipe' });
    const server = createServer({ key: await readFile(key), cert: await readFile(cert) }, (_, response) =>
      response.end(),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const url = `https://127.0.0.1:${typeof address === 'object' && address !== null ? address.port : 0}`;
    const expected = {
      code: 'failed_precondition',
      message: expect.stringMatching(/the certificate of .* is not trusted \(DEPTH_ZERO_SELF_SIGNED_CERT\)$/) as string,
      hint: expect.stringContaining('NODE_EXTRA_CA_CERTS') as string,
    };
    try {
      await expect(new HttpsSource().status(`${url}/a.tar`)).rejects.toMatchObject(expected);
      vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
      const source = new S3Source({ scheme: 's3', endpoint: url, region: 'us-east-1', env: {} });
      await expect(source.status('s3://b/k')).rejects.toMatchObject(expected);
      const plain = new HttpsSource().status(url.replace('https:', 'http:'));
      await expect(plain).rejects.toMatchObject({ code: 'unavailable' });
    } finally {
      vi.unstubAllEnvs();
      server.close();
      server.closeAllConnections();
    }
  });
});
