import { WeftError } from '@weft/common';
import type { Command, CommanderError } from 'commander';

/** The command line itself was wrong: shown like any error, with exit code 2. */
export class UsageError extends WeftError {
  readonly exitCode = 2;

  constructor(message: string, hint?: string, cause?: unknown) {
    super('invalid_argument', message, { ...(hint === undefined ? {} : { hint }), cause });
  }

  /**
   * What commander found wrong, as one sentence with a hint.
   *
   * @param command the command that was read
   * @param typed how a person types it, for the hint: `weft data fetch`
   */
  static fromCommander(error: CommanderError, command: Command, typed: string): UsageError {
    const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
    const wrongValue = WRONG_VALUE.exec(first)?.groups;
    if (wrongValue !== undefined) {
      const { option, argument, value, rule = '' } = wrongValue;
      const must = rule
        .replace(/^It must be /, '')
        .replace(/^Allowed choices are (.*)$/, (_, all: string) => anyOf(all));
      return new UsageError(`${option ?? `<${argument}>`} must be ${must}, not ${JSON.stringify(value)}`);
    }
    const see = `see ${typed} --help`;
    if (error.code === 'commander.excessArguments') {
      const unexpected = command.args[command.registeredArguments.length];
      return new UsageError(`unexpected argument '${unexpected}'`, see);
    }
    const meant = /\(Did you mean (?:one of )?(.*)\?\)/.exec(rest.join(' '))?.[1];
    return new UsageError(first.replace(/\.$/, ''), meant === undefined ? see : `did you mean ${meant}`);
  }
}

/** `option '--port <port>' argument 'x' is invalid. It must be a port.` */
const WRONG_VALUE =
  /^(?:option '(?:-\w, )?(?<option>--[\w-]+).*?' argument|command-argument value) '(?<value>.*)' is invalid(?: for argument '(?<argument>.*?)')?\. (?<rule>.*)\.$/s;

const anyOf = (choices: string) => choices.replaceAll(', ', ' or ');
