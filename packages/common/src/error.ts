/**
 * What went wrong, as a closed list. The code tells the caller what to do next:
 * `invalid_*` and `corrupt_data` want a person, `unavailable` and `deadline_exceeded` may be tried again. `native_library`,
 * `out_of_memory` and `device_failed` are about the process that meets them: others may well go on.
 */
export const ERROR_CODES = [
  'invalid_argument',
  'not_found',
  'already_exists',
  'failed_precondition',
  'corrupt_data',
  'version_mismatch',
  'port_in_use',
  'native_library',
  'out_of_memory',
  'device_failed',
  'unavailable',
  'deadline_exceeded',
  'cancelled',
  'internal',
] as const;
export type ErrorCode = (typeof ERROR_CODES)[number];

/** A code as it came over a wire or from a file; a word of a newer version counts as `internal`. */
export function errorCode(text: string): ErrorCode {
  return ERROR_CODES.find((code) => code === text) ?? 'internal';
}

export interface WeftErrorOptions {
  /** What the reader can do about it, one imperative sentence without a final full stop. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/** The one error class of Weft: a closed code, one clear sentence, and the hint. */
export class WeftError extends Error {
  override readonly name = 'WeftError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: WeftErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }

  /** The sentence a person reads: the message, and the hint where there is one. */
  get sentence(): string {
    return this.hint === undefined ? this.message : `${this.message}: ${this.hint}.`;
  }

  /**
   * The one funnel from whatever was thrown: a WeftError stays itself, Node's AbortError becomes `cancelled` and its
   * TimeoutError `deadline_exceeded`. Errors of the operating system get the code and the hint of `SYSTEM_ERRORS`: a full
   * disk or a peer that is gone is no defect of Weft. All else becomes `code`.
   */
  static from(thrown: unknown, code: ErrorCode = 'internal'): WeftError {
    if (thrown instanceof WeftError) return thrown;
    if (!(thrown instanceof Error)) return new WeftError(code, String(thrown), { cause: thrown });
    const [systemCode, hint] = SYSTEM_ERRORS[systemErrorCode(thrown) ?? ''] ?? [];
    return new WeftError(CODES_BY_NAME[thrown.name] ?? systemCode ?? code, thrown.message, {
      cause: thrown,
      ...(hint === undefined ? {} : { hint }),
    });
  }

  static is(thrown: unknown, code?: ErrorCode): thrown is WeftError {
    return thrown instanceof WeftError && (code === undefined || thrown.code === code);
  }
}

/** What aborted signals and `AbortSignal.timeout` throw, by the name of the error. */
const CODES_BY_NAME: Readonly<Record<string, ErrorCode>> = {
  AbortError: 'cancelled',
  TimeoutError: 'deadline_exceeded',
};

const PERMISSIONS = 'check the permissions of the file and who runs this process';
const FULL = 'free space on its disk';

/** What errors of the operating system mean, by their code, and what to do where that is known. */
const SYSTEM_ERRORS: Readonly<Record<string, readonly [code: ErrorCode, hint?: string]>> = {
  ENOENT: ['not_found'],
  ENOTDIR: ['not_found'],
  EISDIR: ['invalid_argument'],
  EEXIST: ['already_exists'],
  ENAMETOOLONG: ['invalid_argument'],
  EACCES: ['failed_precondition', PERMISSIONS],
  EPERM: ['failed_precondition', PERMISSIONS],
  EROFS: ['failed_precondition', 'choose a folder that can be written'],
  ENOSPC: ['failed_precondition', FULL],
  EDQUOT: ['failed_precondition', FULL],
  EIO: ['failed_precondition', 'check the health of the disk'],
  EMFILE: ['failed_precondition', 'allow more open files with ulimit -n'],
  ENFILE: ['failed_precondition', 'allow more open files on this machine'],
  ENOMEM: ['failed_precondition', 'free memory on this machine'],
  ECONNREFUSED: ['unavailable'],
  ECONNRESET: ['unavailable'],
  ECONNABORTED: ['unavailable'],
  EPIPE: ['unavailable'],
  ENETUNREACH: ['unavailable'],
  EHOSTUNREACH: ['unavailable'],
  ENOTFOUND: ['unavailable'],
  EAI_AGAIN: ['unavailable'],
  ETIMEDOUT: ['deadline_exceeded'],
};

/** Throws a WeftError: `refuse('invalid_argument', 'steps must be positive, not 0', 'set steps to 1 or more')`. */
export function refuse(code: ErrorCode, message: string, hint?: string): never {
  throw new WeftError(code, message, hint === undefined ? {} : { hint });
}

/** The code of an error of the operating system, `ENOENT` and the like. */
export function systemErrorCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}

/** Closes a switch: the compiler objects when a case is missing. */
export function assertNever(value: never): never {
  throw new WeftError('internal', `a case was not handled: ${JSON.stringify(value)}`);
}
