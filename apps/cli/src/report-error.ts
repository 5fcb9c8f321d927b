import { UsageError, WeftError } from '@weft/common';
import { CommanderError } from 'commander';
import { asTyped, type Terminal } from './terminal.js';

/** The exit codes. 130 is the usual one of a command interrupted by Ctrl-C. */
export const EXIT = { done: 0, failed: 1, usage: 2, stopped: 130 } as const;

/** The one place where an error becomes text and an exit code. */
export function reportError(
  thrown: unknown,
  terminal: Terminal,
  options: { readonly json: boolean; readonly debug: boolean; readonly help: string },
): number {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return EXIT.done;
  const isUsage = thrown instanceof CommanderError || thrown instanceof UsageError;
  const error = thrown instanceof CommanderError ? fromCommander(thrown, options.help) : WeftError.from(thrown);
  if (options.json) {
    const { code, message, hint } = error;
    const hintAsTyped = hint === undefined ? undefined : asTyped(hint, terminal);
    terminal.stderr.write(`${JSON.stringify({ error: { code, message, hint: hintAsTyped } })}\n`);
  } else {
    terminal.stderr.write(`error: ${asTyped(error.sentence, terminal)}\n`);
  }
  if (options.debug) terminal.stderr.write(`${stacks(thrown)}\n`);
  else if (error.code === 'internal' && !options.json)
    terminal.stderr.write('This is a defect of weft: run the command again with --debug to see where.\n');
  return isUsage ? EXIT.usage : EXIT.failed;
}

/** Commander writes "error: unknown option '--x'\n(Did you mean --y?)"; this makes one sentence with a hint of it. */
function fromCommander(error: CommanderError, help: string): WeftError {
  const [first = '', ...rest] = error.message.replace(/^error: /, '').split('\n');
  const sentence = first.replace(/\.$/, '').replace(/\. ([A-Z])/, (_, letter: string) => `, ${letter.toLowerCase()}`);
  const meant = rest.join(' ').match(/\(Did you mean (?:one of )?(.*)\?\)/)?.[1];
  const hint = meant === undefined ? `see ${help}` : `did you mean ${meant}`;
  return new WeftError('invalid_argument', sentence, { hint });
}

function stacks(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = thrown.stack ?? String(thrown);
  return thrown.cause === undefined ? own : `${own}\ncaused by: ${stacks(thrown.cause)}`;
}
