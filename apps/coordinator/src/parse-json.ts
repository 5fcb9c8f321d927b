import { WeftError } from '@weft/common';

/** @throws `invalid_argument` naming what is not JSON. */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('invalid_argument', `${what} is not JSON`, { cause });
  }
}
