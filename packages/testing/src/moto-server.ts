import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { WeftError } from '@weft/common';
import { freePort } from './free-port.js';
import { waitFor } from './wait-for.js';

/** An S3 server that others wrote, in memory, on the loopback interface. It asks nobody for credentials. */
export interface MotoServer extends AsyncDisposable {
  readonly port: number;
  /** `http://127.0.0.1:<port>` */
  readonly url: string;
  /** Makes a bucket (`bucket`), or a blob in one (`bucket/key`). */
  put(path: string, body?: Uint8Array): Promise<void>;
  /** Removes a blob. */
  remove(path: string): Promise<void>;
}

const PYTHON = process.env.WEFT_DATA_PYTHON ?? process.env.PYTHON ?? 'python3';

/** Whether this host has it. Tests that need it are skipped where it is missing: `pip install 'moto[server]'`. */
export function hasMoto(): boolean {
  try {
    execFileSync(PYTHON, ['-c', 'import moto.server, flask'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** It believes every signature, but replaces nothing for somebody without one. */
const AUTHORIZATION =
  'AWS4-HMAC-SHA256 Credential=AKIDTEST/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0';

async function send(method: string, url: string, body?: Uint8Array): Promise<void> {
  const content = body === undefined ? {} : { body: Buffer.from(body) };
  const answer = await fetch(url, { method, headers: { Authorization: AUTHORIZATION }, ...content });
  if (!answer.ok) throw new WeftError('internal', `moto answers ${answer.status} to ${method} ${url}`);
}

/** @throws WeftError `deadline_exceeded` when it does not come up. */
export async function motoServer(): Promise<MotoServer> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const program = 'from moto.server import main; import sys; main(sys.argv[1:])';
  const child = spawn(PYTHON, ['-c', program, '-H', '127.0.0.1', '-p', String(port)], { stdio: 'ignore' });
  try {
    await waitFor(`moto on port ${port}`, async () => (await fetch(`${url}/moto-api/`)).ok, { timeoutMs: 60_000 });
  } catch (thrown) {
    await ended(child);
    throw thrown;
  }
  return {
    ...{ port, url, [Symbol.asyncDispose]: () => ended(child) },
    put: (path, body) => send('PUT', `${url}/${path}`, body),
    remove: (path) => send('DELETE', `${url}/${path}`),
  };
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return;
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGKILL');
  await gone;
}
