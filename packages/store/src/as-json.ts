import { WeftError } from '@weft/common';

/** The text of a value. Throws a TypeError for what JSON cannot say. */
export function toJson(value: unknown): string {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new TypeError(`${String(value)} is nothing that JSON can hold`);
  return text;
}

/** The value as it comes back from the store. @throws WeftError `invalid_argument` for what JSON cannot hold. */
export function asJson(value: unknown, what: string): unknown {
  try {
    return JSON.parse(toJson(value ?? null));
  } catch (cause) {
    throw new WeftError('invalid_argument', `${what} is not JSON: ${WeftError.from(cause).message}`, { cause });
  }
}
