import { WeftError } from './error.js';

/** The command line itself was wrong: shown like any error, with exit code 2. */
export class UsageError extends WeftError {
  readonly exitCode = 2;

  constructor(message: string, hint?: string, cause?: unknown) {
    super('invalid_argument', message, { ...(hint === undefined ? {} : { hint }), cause });
  }

  /** Reads a command line; whatever is wrong with it becomes a UsageError. */
  static reading<T>(read: () => T): T {
    try {
      return read();
    } catch (thrown) {
      const { message, hint } = WeftError.from(thrown);
      throw new UsageError(message, hint, thrown);
    }
  }
}
