import { Command, CommanderError } from 'commander';
import { UsageError } from './usage-error.js';

/** Where help is written: stdout, or a string in a test. */
export interface HelpOutput {
  write(text: string): unknown;
  /** Width in characters, where it is known. */
  readonly columns?: number;
}

/** The longest line of a help text. */
const HELP_COLUMNS = 100;

/**
 * A program that writes its help to `output` and never ends the process: whatever is wrong with its command line is thrown
 * by `parse` as a CommanderError.
 *
 * @param name how a person types it: `weft worker`
 */
export function createProgram(name: string, output: HelpOutput): Command {
  return new Command(name)
    .helpOption('-h, --help', 'print this help')
    .configureOutput({ writeOut: (text) => output.write(text), writeErr: () => {} })
    .configureHelp({ helpWidth: Math.min(HELP_COLUMNS, output.columns || HELP_COLUMNS) })
    .exitOverride();
}

/**
 * Reads the command line of a program without subcommands.
 *
 * @returns the options by their names in camel case; undefined when help was asked for and has been printed
 * @throws UsageError
 */
export function readOptions<Options extends object>(program: Command, argv: readonly string[]): Options | undefined {
  try {
    return program.parse(argv, { from: 'user' }).opts<Options>();
  } catch (thrown) {
    if (!(thrown instanceof CommanderError)) throw thrown;
    if (thrown.exitCode === 0) return undefined;
    throw UsageError.fromCommander(thrown, program, program.name());
  }
}
