import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { WeftError } from '@weft/common';
import { type Home, isMissing, makeDirectory } from '@weft/files';

/** Who may ask the page's server for what. */
export interface PageAccess {
  /** Whether the server can be reached from this machine only. */
  readonly isLoopback: boolean;
  /** What a browser must show where the server can be reached from others; undefined on loopback. */
  readonly token: string | undefined;
}

const COOKIE = 'weft_page';
const TOKEN_BYTES = 24;

/** Whether an address of a socket is reachable from this machine only. */
function isLoopbackHost(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * The access to a server that listens on `host`. Beyond loopback there is a token in a file of the home that only its owner
 * may read; it stays the same from start to start.
 */
export async function pageAccess(home: Home, host: string): Promise<PageAccess> {
  if (isLoopbackHost(host)) return { isLoopback: true, token: undefined };
  const file = home.pageTokenFile;
  const token = await readToken(file);
  if (token !== undefined) return { isLoopback: false, token };
  const created = randomBytes(TOKEN_BYTES).toString('base64url');
  await makeDirectory(home.directory);
  await writeFile(file, `${created}\n`, { mode: 0o600 });
  return { isLoopback: false, token: created };
}

async function readToken(file: string): Promise<string | undefined> {
  try {
    const token = (await readFile(file, 'utf8')).trim();
    return token === '' ? undefined : token;
  } catch (thrown) {
    if (isMissing(thrown)) return undefined;
    throw thrown;
  }
}

/** A request that is refused, with its status of HTTP. */
export class AccessRefused extends WeftError {
  readonly status: 401 | 403 | 415;

  constructor(status: AccessRefused['status'], message: string, hint: string) {
    super('failed_precondition', message, { hint });
    this.status = status;
  }
}

/**
 * The one place where a request to the page's server is allowed.
 *
 * On loopback the name that the browser used must be one of this machine: a foreign name that resolves to 127.0.0.1 belongs to
 * a foreign page. Beyond loopback the token is required instead, which only a browser has that was given it under the same
 * name. A request that changes something must come from the page itself: other pages cannot send JSON to another origin.
 *
 * @throws AccessRefused
 */
export function requireAccess(request: IncomingMessage, { isLoopback, token }: PageAccess): void {
  const { host = '', origin, cookie = '' } = request.headers;
  if (isLoopback && !isLoopbackHost(hostName(host)))
    throw new AccessRefused(
      403,
      `the page does not answer under the name ${JSON.stringify(host)}`,
      'open it at http://127.0.0.1 or http://localhost, or start the coordinator with --page <address>',
    );
  if (token !== undefined && !isEqual(cookieOf(cookie), token))
    throw new AccessRefused(
      401,
      'the page asks for its token',
      'open the address that `weft page` prints on the machine of the coordinator',
    );
  if (request.method === 'GET' || request.method === 'HEAD') return;
  const site = request.headers['sec-fetch-site'];
  const isForeign =
    (origin !== undefined && origin !== `http://${host}`) || (site !== undefined && site !== 'same-origin');
  if (isForeign) throw new AccessRefused(403, 'only the page itself may change something', 'use its buttons, or weft');
  if (!/^application\/json\b/.test(request.headers['content-type'] ?? ''))
    throw new AccessRefused(415, 'a request that changes something must be JSON', 'set content-type: application/json');
}

/** The cookie for a browser that opened `/?token=…`; undefined for a wrong token. */
export function sessionCookie({ token }: PageAccess, given: string): string | undefined {
  if (token === undefined || !isEqual(given, token)) return undefined;
  return `${COOKIE}=${token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000`;
}

const hostName = (host: string) => host.replace(/:\d+$/, '');

function cookieOf(header: string): string {
  const found = header.split(';').find((each) => each.trim().startsWith(`${COOKIE}=`));
  return found?.trim().slice(COOKIE.length + 1) ?? '';
}

/** In a time that does not depend on where they differ. */
function isEqual(a: string, b: string): boolean {
  const hash = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(hash(a), hash(b));
}
