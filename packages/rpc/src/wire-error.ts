import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { assertNever, type ErrorCode, errorCode, WeftError } from '@weft/common';

/** The trailer that carries a WeftError: UTF-8 JSON of code, message and hint. */
const ERROR_TRAILER = 'weft-error-bin';
/** In characters. Other gRPC clients accept 8 KiB of trailers, in which a character may take four bytes and more. */
const LONGEST_MESSAGE = 1500;
const LONGEST_HINT = 300;
const LONGEST_DETAILS = 200;

/** A gRPC status with the trailer that carries the WeftError. */
export interface StatusWithTrailers {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** The status that a server sends for an error of its handler. Other gRPC clients see the nearest status and the message. */
export function toStatus(thrown: unknown): StatusWithTrailers {
  const { code, message, hint } = WeftError.from(thrown);
  const metadata = new Metadata();
  const whole = { code, message: shortened(message, LONGEST_MESSAGE), hint: shortened(hint ?? '', LONGEST_HINT) };
  metadata.set(ERROR_TRAILER, Buffer.from(JSON.stringify(whole)));
  // Through UTF-8 and back, because half a surrogate pair cannot be percent-encoded into a status.
  const details = Buffer.from(shortened(message, LONGEST_DETAILS)).toString();
  return { code: statusOf(code), details, metadata };
}

/** The call that failed, for the message. */
export interface CallSite {
  readonly address: string;
  readonly path: string;
  readonly deadlineMs?: number;
  /** Aborted when the caller cancelled the call; otherwise the server dropped it. */
  readonly signal?: AbortSignal | undefined;
}

/** The error of a failed call: the WeftError that the server sent, or else one made from the gRPC status. */
export function fromServiceError(error: ServiceError, site: CallSite): WeftError {
  return carriedError(error) ?? transportError(error, site);
}

function carriedError(error: ServiceError): WeftError | undefined {
  const [trailer] = error.metadata?.get(ERROR_TRAILER) ?? [];
  if (!Buffer.isBuffer(trailer)) return undefined;
  try {
    const carried: unknown = JSON.parse(trailer.toString());
    if (typeof carried !== 'object' || carried === null) return undefined;
    const { code, message, hint } = carried as Record<string, unknown>;
    if (typeof code !== 'string' || typeof message !== 'string' || typeof hint !== 'string') return undefined;
    return new WeftError(errorCode(code), message, hint === '' ? {} : { hint });
  } catch {
    return undefined;
  }
}

function transportError(cause: ServiceError, { address, path, deadlineMs, signal }: CallSite): WeftError {
  const method = path.slice(path.lastIndexOf('/') + 1);
  switch (cause.code) {
    case status.UNAVAILABLE:
      return new WeftError('unavailable', `no connection to ${address} (${reasonIn(cause.details)})`, {
        hint: 'check the address, that the process there runs, and that both sides use TLS or neither does',
        cause,
      });
    case status.DEADLINE_EXCEEDED: {
      const time = deadlineMs === undefined ? 'in time' : `within ${deadlineMs} ms`;
      return new WeftError('deadline_exceeded', `${address} did not answer ${method} ${time}`, { cause });
    }
    case status.CANCELLED:
      return signal?.aborted
        ? new WeftError('cancelled', `the call ${method} to ${address} was cancelled`, { cause })
        : new WeftError('unavailable', `${address} dropped the call ${method}`, { cause });
    case status.UNIMPLEMENTED:
      return new WeftError('version_mismatch', `${address} does not know ${path}`, {
        hint: 'run the same version of Weft on both sides',
        cause,
      });
    case status.RESOURCE_EXHAUSTED:
      return new WeftError('invalid_argument', `a message of ${method} is too large (${cause.details})`, { cause });
    case status.NOT_FOUND:
      return new WeftError('not_found', cause.details, { cause });
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      return new WeftError('failed_precondition', `${address} refused ${method}: ${cause.details}`, { cause });
    case status.INTERNAL:
      // The stream was reset below gRPC, by a proxy or a process that died. It is not a bug of the other side.
      if (cause.details.includes('RST_STREAM'))
        return new WeftError('unavailable', `the connection to ${address} broke (${cause.details})`, { cause });
      return new WeftError('internal', `${method} at ${address} failed: ${cause.details}`, { cause });
    default:
      // None of our servers answers with the remaining statuses: a proxy, or a server of another kind.
      return new WeftError('failed_precondition', `${method} at ${address} failed: ${cause.details}`, {
        hint: 'check that a coordinator of this version of Weft listens at that address',
        cause,
      });
  }
}

/** The system's reason, without what grpc-js writes about its load balancer. */
function reasonIn(details: string): string {
  return (
    /(?:connect|getaddrinfo|read|write) E[A-Z]+.*$/.exec(details)?.[0]?.replace(/\.? Resolution note:.*$/, '') ??
    details
  );
}

function statusOf(code: ErrorCode): status {
  switch (code) {
    case 'invalid_argument':
      return status.INVALID_ARGUMENT;
    case 'not_found':
      return status.NOT_FOUND;
    case 'already_exists':
      return status.ALREADY_EXISTS;
    case 'failed_precondition':
    case 'version_mismatch':
    case 'port_in_use':
      return status.FAILED_PRECONDITION;
    case 'corrupt_data':
      return status.DATA_LOSS;
    case 'unavailable':
      return status.UNAVAILABLE;
    case 'deadline_exceeded':
      return status.DEADLINE_EXCEEDED;
    case 'cancelled':
      return status.CANCELLED;
    case 'native_library':
    case 'out_of_memory':
    case 'device_failed':
    case 'internal':
      return status.INTERNAL;
    default:
      return assertNever(code);
  }
}

function shortened(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length)}…`;
}
