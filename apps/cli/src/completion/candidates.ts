import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command, Option } from 'commander';

/** What a word can be besides a command and an option: the names of runs and of recipes, looked up when they are asked for. */
export interface Names {
  runs(): Promise<readonly string[]>;
  recipes(): Promise<readonly string[]>;
}

/**
 * How the last word of a command line may go on, each candidate a whole word; none where a file is meant: shells know files.
 *
 * @param program all commands
 * @param words after `weft`, the last of them unfinished and perhaps empty
 */
export async function candidates(program: Command, words: readonly string[], names: Names): Promise<string[]> {
  const typed = words.at(-1) ?? '';
  const { command, rest } = commandOf(program, words.slice(0, -1));
  const before = rest.at(-1);
  const expecting = before === undefined ? undefined : command.options.find((option) => isNamed(option, before));
  if (expecting !== undefined && (expecting.required || expecting.variadic))
    return startingWith(typed, await valuesOf(expecting, names));
  if (typed.startsWith('-')) return startingWith(typed, optionsOf(command));
  if (expecting !== undefined && !expecting.isBoolean() && typed === '') return optionsOf(command);
  const commands = command.commands.filter((each) => !isHidden(each)).map((each) => each.name());
  const at = operandsOf(command, rest).length;
  const argument = command.registeredArguments[at];
  const values = argument === undefined ? [] : (argument.argChoices ?? (await namesFor(argument.name(), names)));
  return startingWith(typed, [...(at === 0 ? commands : []), ...values]);
}

/** The runs of a home by the names of their folders, the newest first; none where it cannot be read. */
export async function runsOfHome(home: string): Promise<string[]> {
  const folders = await readdir(join(home, 'runs'), { withFileTypes: true }).catch(() => []);
  const age = (name: string) => /-(\d{8}-\d{4})-\w+$/.exec(name)?.[1] ?? '';
  return folders.flatMap((each) => (each.isDirectory() ? each.name : [])).sort((a, b) => age(b).localeCompare(age(a)));
}

function commandOf(command: Command, words: readonly string[]): { command: Command; rest: readonly string[] } {
  const next = command.commands.find((each) => each.name() === words[0]);
  return next === undefined ? { command, rest: words } : commandOf(next, words.slice(1));
}

/** The words that are neither an option nor its value. */
function operandsOf(command: Command, words: readonly string[]): string[] {
  return words.filter((word, at) => {
    const before = words[at - 1];
    const takesIt =
      before !== undefined && command.options.some((option) => isNamed(option, before) && option.required);
    return !word.startsWith('-') && !takesIt;
  });
}

async function valuesOf({ argChoices, flags, long }: Option, names: Names): Promise<readonly string[]> {
  if (argChoices !== undefined) return argChoices;
  const value = /[<[]([^\]>]+?)(?:\.\.\.)?[\]>]/.exec(flags)?.[1] ?? '';
  return long === '--recipe' ? names.recipes() : namesFor(value, names);
}

/** @param what the name of an argument: `run|checkpoint` */
async function namesFor(what: string, names: Names): Promise<readonly string[]> {
  const kinds = what.split('|');
  const runs = kinds.includes('run') ? await names.runs() : [];
  return kinds.includes('recipe') ? [...runs, ...(await names.recipes())] : runs;
}

const optionsOf = (command: Command) => [
  ...command.options.filter(({ hidden }) => !hidden).flatMap(({ long }) => long ?? []),
  '--help',
];

const isNamed = ({ long, short }: Option, word: string) => word === long || word === short;

/** Commander keeps it to itself. */
const isHidden = (command: Command) => (command as unknown as { _hidden?: boolean })._hidden === true;

const startingWith = (typed: string, words: readonly string[]) => words.filter((word) => word.startsWith(typed));
