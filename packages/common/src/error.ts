/**
 * What went wrong, as a closed list. The code tells the caller what to do next:
 * `invalid_*` and `corrupt_data` want a person, `unavailable` and `deadline_exceeded` may be tried again.
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
  readonly cure?: string;
  readonly cause?: unknown;
}

/** The one error class of Weft: a closed code, one clear sentence, and the cure. */
export class WeftError extends Error {
  override readonly name = 'WeftError';
  readonly code: ErrorCode;
  readonly cure: string | undefined;

  constructor(code: ErrorCode, message: string, options: WeftErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.cure = options.cure;
  }

  /** The sentence a person reads: the message, and the cure where there is one. */
  get sentence(): string {
    return this.cure === undefined ? this.message : `${this.message}: ${this.cure}.`;
  }

  /**
   * The one funnel from whatever was thrown: a WeftError stays itself, Node's AbortError becomes `cancelled` and its
   * TimeoutError `deadline_exceeded`, all else `code`.
   */
  static from(thrown: unknown, code: ErrorCode = 'internal'): WeftError {
    if (thrown instanceof WeftError) return thrown;
    if (!(thrown instanceof Error)) return new WeftError(code, String(thrown), { cause: thrown });
    return new WeftError(CODES_BY_NAME[thrown.name] ?? code, thrown.message, { cause: thrown });
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

/** Throws a WeftError: `refuse('invalid_argument', 'steps must be positive, not 0', 'set steps to 1 or more')`. */
export function refuse(code: ErrorCode, message: string, cure?: string): never {
  throw new WeftError(code, message, cure === undefined ? {} : { cure });
}

/** The code of an error of the operating system, `ENOENT` and the like. */
export function systemErrorCode(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string' ? thrown.code : undefined;
}

/** Closes a switch: the compiler objects when a case is missing. */
export function assertNever(value: never): never {
  throw new WeftError('internal', `a case was not handled: ${JSON.stringify(value)}`);
}
