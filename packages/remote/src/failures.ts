import { type ErrorCode, systemErrorCode, WeftError } from '@weft/common';

/** An answer of a server that is none of those asked for; the cause of a WeftError. */
export class RefusedRequest extends Error {
  override readonly name = 'RefusedRequest';
  readonly status: number;
  /** How long the server asks to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(status: number, reason: string, retryAfterMs?: number) {
    super(`${status} ${reason}`.trim());
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }
}

/** What can be done about an answer, which depends on the kind of store. */
export interface Hints {
  /** Of a blob or folder that is not there. */
  readonly missing: string;
  /** Of an answer that nobody may read it, or that nobody knows who asks. */
  readonly denied: string;
  /** Of a host that does not answer. */
  readonly unreachable: string;
}

const AGAIN = new Set([408, 425, 429, 500, 502, 503, 504, 509, 529]);

/** The sentence about an answer with an error status. */
export function refusal(path: string, refused: RefusedRequest, hints: Hints): WeftError {
  const { status } = refused;
  const as = (code: ErrorCode, message: string, hint?: string) =>
    new WeftError(code, message, { cause: refused, ...(hint === undefined ? {} : { hint }) });
  if (status === 404 || status === 410) return as('not_found', `${path} does not exist`, hints.missing);
  if (status === 401 || status === 403) return as('failed_precondition', `access to ${path} is denied`, hints.denied);
  if (status === 412 || status === 416) return changed(path, refused);
  if (AGAIN.has(status)) return as('unavailable', `${path} cannot be read now: the server answers ${refused.message}`);
  return as('failed_precondition', `${path} cannot be read: the server answers ${refused.message}`);
}

/** The sentence about bytes that are not those of the index. */
export function changed(path: string, cause?: unknown): WeftError {
  return new WeftError('failed_precondition', `the shard ${path} has changed since it was indexed`, {
    cause,
    hint: 'put the former file back, or run weft data index <recipe>',
  });
}

/** Errors of TLS that no second attempt mends. */
const CERTIFICATE =
  /^(UNABLE_TO_|SELF_SIGNED_CERT|DEPTH_ZERO_SELF_SIGNED_CERT|CERT_|ERR_TLS_CERT_ALTNAME_INVALID|HOSTNAME_MISMATCH)/;
const NO_TLS = /^(ERR_SSL_|EPROTO)/;

/**
 * The sentence about a request without an answer. What is nobody's fault here is `unavailable`: another attempt may do.
 *
 * @param host that was asked
 */
export function connectionFailure(path: string, host: string, thrown: unknown, hints: Hints): WeftError {
  if (WeftError.is(thrown)) return thrown;
  const { code, message } = innermost(thrown);
  const fail = (as: ErrorCode, reason: string, hint: string) =>
    new WeftError(as, `${path} cannot be read: ${reason}`, { cause: thrown, hint });
  if (CERTIFICATE.test(code))
    return fail(
      'failed_precondition',
      `the certificate of ${host} is not trusted (${code})`,
      'set NODE_EXTRA_CA_CERTS to the file of the authority that signed it, for every process of Weft',
    );
  if (NO_TLS.test(code))
    return fail(
      'failed_precondition',
      `${host} does not speak TLS (${code})`,
      'write http:// for a server without TLS',
    );
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return fail('unavailable', `no host is known by the name ${host}`, hints.unreachable);
  if (code === 'ECONNREFUSED' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH')
    return fail('unavailable', `${host} cannot be reached (${code})`, hints.unreachable);
  return fail('unavailable', `the connection to ${host} failed: ${code === '' ? message : code}`, hints.unreachable);
}

/** `fetch` hides what happened behind "fetch failed"; a host with several addresses has an error for each. */
function innermost(thrown: unknown): { readonly code: string; readonly message: string } {
  let at: unknown = thrown;
  for (let depth = 0; depth < 8 && at instanceof Error; depth++) {
    const own = systemErrorCode(at);
    const next: unknown = at instanceof AggregateError ? at.errors[0] : at.cause;
    if (own !== undefined || !(next instanceof Error)) return { code: own ?? '', message: at.message };
    at = next;
  }
  return { code: '', message: String(at) };
}

/** `Retry-After`: seconds, or a date. */
export function retryAfterMs(header: string | null | undefined, nowMs = Date.now()): number | undefined {
  if (!header) return undefined;
  const ms = /^\d+(\.\d+)?$/.test(header.trim()) ? Number(header) * 1000 : Date.parse(header) - nowMs;
  return Number.isFinite(ms) ? Math.max(0, ms) : undefined;
}
