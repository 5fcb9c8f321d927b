import { UsageError } from '@weft/command-line';
import { WeftError } from '@weft/common';
import { type Command, CommanderError } from 'commander';
import { asTyped, type Terminal } from './terminal.js';

/** The exit codes. 130 is the usual one of a command interrupted by Ctrl-C. */
export const EXIT = { done: 0, failed: 1, usage: 2, stopped: 130 } as const;

/**
 * The one place where an error becomes text and an exit code.
 *
 * @param options.command the command that was read
 */
export function reportError(
  thrown: unknown,
  terminal: Terminal,
  options: { readonly json: boolean; readonly debug: boolean; readonly command: Command },
): number {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return EXIT.done;
  const error =
    thrown instanceof CommanderError
      ? UsageError.fromCommander(thrown, options.command, typedName(options.command, terminal))
      : WeftError.from(thrown);
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
  return error instanceof UsageError ? EXIT.usage : EXIT.failed;
}

/** `npx weft data fetch`. */
function typedName(command: Command, { commandName }: Pick<Terminal, 'commandName'>): string {
  return command.parent === null ? commandName : `${typedName(command.parent, { commandName })} ${command.name()}`;
}

function stacks(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = thrown.stack ?? String(thrown);
  return thrown.cause === undefined ? own : `${own}\ncaused by: ${stacks(thrown.cause)}`;
}
