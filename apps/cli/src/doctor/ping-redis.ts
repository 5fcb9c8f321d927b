import { connect as connectPlain, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { WeftError } from '@weft/common';

const TIMEOUT_MS = 3000;

/**
 * Asks a Redis server for a sign of life, with the password and the database of its URL.
 *
 * @param url `redis://[user[:password]@]host[:port][/database]`, or `rediss://` for TLS.
 * @throws `unavailable` with what the server or the system said.
 */
export async function pingRedis(url: string): Promise<void> {
  const { protocol, hostname, port, username, password } = parse(url);
  const target = { host: hostname, port: port === '' ? 6379 : Number(port) };
  const socket = protocol === 'rediss:' ? connectTls({ ...target, servername: hostname }) : connectPlain(target);
  const greeting =
    password === ''
      ? ''
      : command('AUTH', ...[username, password].filter((word) => word !== '').map(decodeURIComponent));
  try {
    const answer = await converse(socket, greeting + command('PING'));
    if (!/\+PONG\r\n$/.test(answer)) throw new WeftError('unavailable', answer.replace(/^[+-]/, '').trim());
  } finally {
    socket.destroy();
  }
}

function parse(url: string): URL {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === '')
    throw new WeftError('invalid_argument', 'it must look like redis://host:6379');
  return parsed;
}

/** A command in Redis' own protocol: an array of strings with their lengths. */
function command(...words: string[]): string {
  return `*${words.length}\r\n${words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`).join('')}`;
}

/** Sends, and reads until the answer to PING or an error is whole. */
function converse(socket: Socket, request: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let received = '';
    const fail = (reason: string, cause?: unknown) => reject(new WeftError('unavailable', reason, { cause }));
    socket.setTimeout(TIMEOUT_MS, () => fail(`no answer within ${TIMEOUT_MS / 1000} s`));
    socket.once('error', (cause) => fail(cause.message, cause));
    socket.once('close', () => fail('the connection was closed'));
    socket.on('data', (chunk) => {
      received += chunk.toString();
      if (/(\+PONG|^-[^\r]*)\r\n/m.test(received)) resolve(received);
    });
    socket.write(request);
  });
}
