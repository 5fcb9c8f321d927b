import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RunSummary, RunsService, WorkersService } from '@weft/proto';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { channel } from './channel.js';
import { type RpcServer, serve } from './serve.js';
import { service } from './service.js';
import type { TlsFiles } from './tls.js';

const openssl = spawnSync('openssl', ['version']).status === 0;
if (!openssl) console.warn('skipped: TLS tests make their certificates with openssl, which is not installed');

describe.skipIf(!openssl)('TLS', () => {
  let directory: TemporaryDirectory;
  let worker: Required<TlsFiles>;
  let coordinator: Required<TlsFiles>;
  let stranger: Required<TlsFiles>;
  const file = (name: string) => join(directory.path, name);
  const run = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });

  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];

  function authority(name: string): void {
    run(
      'req',
      '-x509',
      ...newKey,
      '-days',
      '2',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      file(`${name}.key`),
      '-out',
      file(`${name}.pem`),
    );
  }

  function identity(name: string, signedBy: string): Required<TlsFiles> {
    run('req', ...newKey, '-subj', `/CN=${name}`, '-keyout', file(`${name}.key`), '-out', file(`${name}.csr`));
    writeFileSync(file('san'), 'subjectAltName=IP:127.0.0.1');
    const signing = ['-CA', file(`${signedBy}.pem`), '-CAkey', file(`${signedBy}.key`), '-CAcreateserial'];
    run(
      'x509',
      '-req',
      '-days',
      '2',
      '-in',
      file(`${name}.csr`),
      ...signing,
      '-extfile',
      file('san'),
      '-out',
      file(`${name}.pem`),
    );
    return { authority: file(`${signedBy}.pem`), certificate: file(`${name}.pem`), privateKey: file(`${name}.key`) };
  }

  beforeAll(async () => {
    directory = await temporaryDirectory();
    authority('cluster');
    authority('elsewhere');
    coordinator = identity('coordinator', 'cluster');
    worker = identity('worker-3', 'cluster');
    stranger = { ...identity('stranger', 'elsewhere'), authority: coordinator.authority };
  });
  afterAll(() => directory?.remove());

  let server: RpcServer | undefined;
  afterEach(() => server?.close(0));

  async function ask(serverTls: TlsFiles, clientTls: TlsFiles | undefined): Promise<string | undefined> {
    const asked = () => {
      throw new Error('not asked for');
    };
    const get = (_: unknown, { peerName }: { peerName: string | undefined }) =>
      RunSummary.fromPartial({ recipe: peerName ?? 'nameless' });
    const runs = service(RunsService, {
      get,
      launch: asked,
      resume: asked,
      stop: asked,
      changeMixture: asked,
      saveCheckpoint: asked,
      list: asked,
      watch: asked,
      cluster: asked,
      readLog: asked,
      goodput: asked,
      ranks: asked,
      profile: asked,
    });
    const workers = service(WorkersService, {
      connect: (stream) => stream.closed.then(() => {}),
      sendHeartbeat: () => ({}),
    });
    server = await serve({ services: [runs, workers], tls: serverTls });
    const client = await channel(server.address, clientTls === undefined ? {} : { tls: clientTls });
    try {
      return (await client.unary(RunsService.get, { runId: 'x' })).recipe;
    } finally {
      client.close();
    }
  }

  it('both sides prove who they are, and the server learns the name', async () => {
    expect(await ask(coordinator, worker)).toBe('worker-3');
  });

  it('a server without an authority admits clients without a certificate', async () => {
    const { authority: _, ...open } = coordinator;
    expect(await ask(open, { authority: worker.authority })).toBe('nameless');
  });

  it.each([
    ['without a certificate', () => ({ authority: worker.authority })],
    ['with the certificate of a stranger', () => stranger],
    ['that trusts another authority', () => ({ ...worker, authority: file('elsewhere.pem') })],
    ['without TLS', () => undefined],
  ])('a client %s is refused', async (_, tls) => {
    await expect(ask(coordinator, tls())).rejects.toMatchObject({
      code: 'unavailable',
      hint: expect.stringContaining('both sides use TLS or neither does'),
    });
  });

  it.each([
    [
      'a missing file',
      () => ({ ...worker, certificate: file('nowhere.pem') }),
      'not_found',
      /nowhere\.pem cannot be read/,
    ],
    [
      'a key for a certificate',
      () => ({ ...worker, certificate: worker.privateKey }),
      'invalid_argument',
      /does not hold a certificate/,
    ],
    [
      'a certificate for a key',
      () => ({ ...worker, privateKey: worker.certificate }),
      'invalid_argument',
      /does not hold a private key/,
    ],
    ['another key', () => ({ ...worker, privateKey: stranger.privateKey }), 'invalid_argument', /does not belong to/],
    ['a certificate alone', () => ({ certificate: worker.certificate }), 'invalid_argument', /belong together/],
  ])('%s is refused by name, on both sides', async (_, tls, code, message) => {
    await expect(channel('127.0.0.1:1', { tls: tls() })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
    await expect(serve({ services: [], tls: tls() })).rejects.toMatchObject({
      code,
      message: expect.stringMatching(message),
    });
  });

  it('a server without a certificate is refused', async () => {
    await expect(serve({ services: [], tls: { authority: worker.authority } })).rejects.toMatchObject({
      code: 'invalid_argument',
      message: 'a server with TLS needs its own certificate and private key',
    });
  });
});
