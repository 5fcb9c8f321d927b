import type { IncomingMessage, ServerResponse } from 'node:http';
import { gzipSync } from 'node:zlib';
import { type ErrorCode, WeftError } from '@weft/common';
import type { PageError } from '@weft/contracts';
import { AccessRefused } from './access.js';

/** Bytes with their type. */
export interface Content {
  readonly type: string;
  readonly bytes: Uint8Array;
  /** Whether a browser may keep it for good: its name changes with its content. Default false. */
  readonly isImmutable?: boolean;
}

/** Answers shorter than this are not worth compressing. */
const LEAST_COMPRESSED_BYTES = 4096;
/** A request's body is a few fields. */
const MOST_BODY_BYTES = 64 * 1024;

/** No address but this server's is ever asked for anything, and nothing may show the page inside another. */
const SECURITY_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
} as const;

/** The headers of every answer. */
export function commonHeaders(type: string, isImmutable = false): Record<string, string> {
  return {
    ...SECURITY_HEADERS,
    'content-type': type,
    'cache-control': isImmutable ? 'public, max-age=31536000, immutable' : 'no-store',
  };
}

export function send(request: IncomingMessage, response: ServerResponse, status: number, content: Content): void {
  const { type, bytes, isImmutable = false } = content;
  const accepts = /\bgzip\b/.test(`${request.headers['accept-encoding'] ?? ''}`);
  const isCompressed = accepts && bytes.length >= LEAST_COMPRESSED_BYTES && !type.startsWith('image/');
  const body = isCompressed ? gzipSync(bytes, { level: 4 }) : bytes;
  response.writeHead(status, {
    ...commonHeaders(type, isImmutable),
    'content-length': body.length,
    ...(isCompressed ? { 'content-encoding': 'gzip', vary: 'accept-encoding' } : {}),
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

export function sendJson(request: IncomingMessage, response: ServerResponse, status: number, value: unknown): void {
  send(request, response, status, { type: 'application/json', bytes: Buffer.from(JSON.stringify(value)) });
}

/** Answers with the error and its status. */
export function sendError(request: IncomingMessage, response: ServerResponse, thrown: unknown): void {
  const error = WeftError.from(thrown);
  const body: PageError = { code: error.code, message: error.message, hint: error.hint ?? null };
  sendJson(request, response, error instanceof AccessRefused ? error.status : (STATUSES[error.code] ?? 500), body);
}

const STATUSES: Partial<Readonly<Record<ErrorCode, number>>> = {
  invalid_argument: 400,
  not_found: 404,
  already_exists: 409,
  failed_precondition: 409,
  unavailable: 503,
};

/** The body of a request. @throws WeftError `invalid_argument` for what is too long, or no JSON. */
export async function readJsonBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request) {
    length += (chunk as Buffer).length;
    if (length > MOST_BODY_BYTES) throw new WeftError('invalid_argument', 'the body of the request is too long');
    chunks.push(chunk as Buffer);
  }
  if (length === 0) return {};
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new WeftError('invalid_argument', 'the body of the request is not JSON', { cause });
  }
}
