import { parseAddress } from '@weft/common';
import { InvalidArgumentError } from 'commander';

// Parsers of the values of options and arguments, for commander. Each throws `mustBe` for what it does not accept.

/**
 * The error of a parser. The refusal names option and value: `--port must be a port from 0 to 65535, not "x"`.
 *
 * @param what what the value must be, with its article: `a port from 0 to 65535`
 */
export function mustBe(what: string): InvalidArgumentError {
  return new InvalidArgumentError(`It must be ${what}.`);
}

/** Any text, but not the name of another option: then the value was forgotten. */
export function text(value: string): string {
  if (value.startsWith('--')) throw mustBe('followed by a value');
  return value;
}

/** A parser of whole numbers from `least` to `most`; without `most`, to the largest safe integer. */
export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER): (value: string) => number {
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  return (value) => {
    const number = Number(value);
    if (/^\d+$/.test(value) && number >= least && number <= most) return number;
    throw mustBe(`a whole number ${range}`);
  };
}

/** The port of a server; 0 for any free one. */
export function port(value: string): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number <= LARGEST_PORT) return number;
  throw mustBe(`a port from 0 to ${LARGEST_PORT}`);
}

/** `host:port`; an IPv6 host in brackets. */
export function hostAndPort(value: string): string {
  try {
    parseAddress(value);
    return value;
  } catch {
    throw mustBe('host:port, such as 127.0.0.1:7070');
  }
}

/** A parser that accepts these values only. */
export function oneOf<const Value extends string>(...values: readonly Value[]): (value: string) => Value {
  return (value) => {
    const found = values.find((each) => each === value);
    if (found === undefined) throw mustBe(values.join(' or '));
    return found;
  };
}

/**
 * The arguments that give options their values, for a process that reads them with `readOptions`: what is undefined or false is left
 * out, a list is joined by commas.
 * @param values by long name, without its hyphens: `{ 'data-port': 7000 }`
 */
export function toArguments(
  values: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>,
): string[] {
  return Object.entries(values).flatMap(([name, value]) => {
    if (value === undefined || value === false) return [];
    return value === true ? [`--${name}`] : [`--${name}`, String(value)];
  });
}

const LARGEST_PORT = 65_535;
