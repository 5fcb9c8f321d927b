import { parseArgs } from 'node:util';
import { didYouMean } from './did-you-mean.js';
import { WeftError } from './error.js';

/** The options a command takes, as `node:util` declares them. */
export type Flags = Readonly<Record<string, { readonly type: 'string' | 'boolean'; readonly short?: string }>>;

type FlagValues<F extends Flags> = {
  readonly [Name in keyof F]?: F[Name]['type'] extends 'boolean' ? boolean : string;
};

/**
 * The options of a command as text; positional arguments are refused.
 * @param command what a person types, for the hint: `weft worker`
 * @throws WeftError `invalid_argument` naming the option, with the nearest known one.
 */
export function parseFlags<const F extends Flags>(argv: readonly string[], flags: F, command: string): FlagValues<F> {
  try {
    return parseArgs({ args: [...argv], options: flags, allowPositionals: false }).values as FlagValues<F>;
  } catch (cause) {
    const { message } = WeftError.from(cause);
    const unknown = /'--([^'=]+)/.exec(message)?.[1];
    const meant = unknown === undefined ? undefined : didYouMean(unknown, Object.keys(flags));
    // Node's own sentence ends with advice about "--" that does not help here.
    const [first = message] = message.split('. ');
    const sentence = first.replace(/\.$/, '').replace(/^Unknown/, 'unknown');
    const hint = meant === undefined ? `see ${command} --help` : `did you mean --${meant}`;
    throw new WeftError('invalid_argument', sentence, { hint, cause });
  }
}

/** The whole number an option gives, if it was given. @throws WeftError `invalid_argument` outside of [least, most]. */
export function wholeNumberFlag(
  name: string,
  text: string | undefined,
  least: number,
  most: number,
): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= least && value <= most) return value;
  throw new WeftError(
    'invalid_argument',
    `--${name} must be a whole number from ${least} to ${most}, not ${JSON.stringify(text)}`,
  );
}

/** The port an option gives, 0 for any free one. @throws WeftError `invalid_argument` for anything else. */
export function portFlag(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = Number(text);
  if (/^\d+$/.test(text) && port <= LARGEST_PORT) return port;
  throw new WeftError(
    'invalid_argument',
    `--${name} must be a port from 0 to ${LARGEST_PORT}, not ${JSON.stringify(text)}`,
  );
}

const LARGEST_PORT = 65_535;
