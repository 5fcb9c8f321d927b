import { WeftError } from '@weft/common';

/** A name that is safe as the name of a folder and in a key. @throws WeftError `invalid_argument` */
export function checkLogName(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) return name;
  throw new WeftError('invalid_argument', `${JSON.stringify(name)} cannot be the name of a log`);
}
