import { type ChildProcess, spawn } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { WeftError } from '@weft/common';
import { freePort } from './free-port.js';
import { temporaryDirectory } from './temporary-directory.js';
import { waitFor } from './wait-for.js';

export interface RedisServerOptions {
  /** It outlives the test, so that it need not wait for the disk before every answer. */
  readonly isLasting?: boolean;
  /** More arguments of `redis-server`, for instance `['--requirepass', 'secret']`. */
  readonly words?: readonly string[];
  /** Makes it a sentinel that watches the Redis on this port under the name `mymaster`. */
  readonly sentinelOf?: number;
}

/** A real Redis of one test, on a free port of the loopback interface, with its append-only file on. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  /** `redis://127.0.0.1:<port>` */
  readonly url: string;
  /** Its working directory. */
  readonly directory: string;
  /** Starts it on its old port and files after `kill`. */
  start(): Promise<void>;
  /** kill -9; the files stay. */
  kill(): Promise<void>;
  /** SIGSTOP: it keeps its connections and answers no command until `thaw`. */
  freeze(): void;
  thaw(): void;
  /** Ends it and removes its files; `await using` does it at the end of the block. */
  remove(): Promise<void>;
}

/** @throws WeftError `deadline_exceeded` when it does not come up. */
export async function redisServer({
  isLasting = false,
  words = [],
  sentinelOf,
}: RedisServerOptions = {}): Promise<RedisServer> {
  const directory = await temporaryDirectory();
  const port = await freePort();
  let child: ChildProcess | undefined;
  const start = async () => {
    const first = sentinelOf === undefined ? [] : [await sentinelFile(directory.path, sentinelOf), '--sentinel'];
    child = spawn('redis-server', [...first, ...settings(port, directory.path, isLasting), ...words], {
      stdio: 'ignore',
    });
    await waitFor(`redis-server on port ${port}`, () => answers(port), { timeoutMs: 60_000 });
  };
  const kill = async () => {
    const dying = child;
    child = undefined;
    if (dying === undefined || dying.exitCode !== null) return;
    const gone = new Promise((resolve) => dying.once('exit', resolve));
    dying.kill('SIGKILL');
    await gone;
  };
  const remove = async () => {
    await kill();
    await directory.remove();
  };
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => {
    if (child?.kill(name) !== true) throw new WeftError('failed_precondition', 'this redis-server does not run');
  };
  try {
    await start();
  } catch (thrown) {
    await remove();
    throw thrown;
  }
  return {
    ...{ port, url: `redis://127.0.0.1:${port}`, directory: directory.path, start, kill, remove },
    ...{ freeze: () => signal('SIGSTOP'), thaw: () => signal('SIGCONT'), [Symbol.asyncDispose]: remove },
  };
}

const settings = (port: number, directory: string, isLasting: boolean): string[] => [
  ...['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--save', ''],
  ...['--appendonly', 'yes', '--appendfsync', isLasting ? 'everysec' : 'always', '--maxmemory-policy', 'noeviction'],
];

async function sentinelFile(directory: string, port: number): Promise<string> {
  const path = join(directory, 'sentinel.conf');
  const lines = [`monitor mymaster 127.0.0.1 ${port} 1`, 'down-after-milliseconds mymaster 1000'];
  await writeFile(path, lines.map((line) => `sentinel ${line}\n`).join(''));
  return path;
}

/** Whether something there speaks Redis; one that wants a password does. */
function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => socket.write('PING\r\n'));
    socket.setTimeout(1000, () => socket.destroy());
    socket.once('data', (data) => {
      socket.destroy();
      resolve(/^(\+PONG|-NOAUTH|-DENIED)/.test(data.toString()));
    });
    socket.once('error', () => {});
    socket.once('close', () => resolve(false));
  });
}
