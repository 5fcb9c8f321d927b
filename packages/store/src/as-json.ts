import { WeftError } from '@weft/common';

/** The text of a value. Throws a TypeError for values that are not JSON. */
export function toJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`${String(value)} is nothing that JSON can hold`);
  return text;
}

/** The value as the store will return it. @throws WeftError `invalid_argument` for a value that is not JSON. */
export function asJson(value: unknown, what: string): unknown {
  try {
    return JSON.parse(toJson(value ?? null));
  } catch (cause) {
    throw new WeftError('invalid_argument', `${what} is not JSON: ${WeftError.from(cause).message}`, { cause });
  }
}
