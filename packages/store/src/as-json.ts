import { WeftError } from '@weft/common';

/** The value as it comes back from the store. @throws WeftError `invalid_argument` for what JSON cannot hold. */
export function asJson(value: unknown, what: string): unknown {
  try {
    return JSON.parse(JSON.stringify(value ?? null) ?? refuse(value));
  } catch (cause) {
    const reason = WeftError.from(cause).message;
    throw new WeftError('invalid_argument', `${what} is not JSON: ${reason}`, { cause });
  }
}

function refuse(value: unknown): never {
  throw new TypeError(`JSON has no ${typeof value}`);
}
