import type { Command } from 'commander';
import { candidates, runsOfHome } from '../completion/candidates.js';
import { COMPLETION_SCRIPTS } from '../completion/scripts.js';
import type { CommandContext } from '../context.js';
import { EXIT } from '../report-error.js';

/** A shell that `weft completion` knows. */
export type Shell = keyof typeof COMPLETION_SCRIPTS;

/** `weft completion`: what a shell runs to complete the words of `weft`. */
export function printCompletion({ terminal }: CommandContext, shell: Shell): number {
  terminal.stdout.write(COMPLETION_SCRIPTS[shell]);
  return EXIT.done;
}

/** `weft complete`, which those scripts call: the candidates for the last word, one a line. */
export async function complete(
  { terminal, home }: CommandContext,
  program: Command,
  words: readonly string[],
): Promise<number> {
  const found = await candidates(program, words, {
    runs: async () => ['last', ...(await runsOfHome(home))],
    recipes: async () => Object.keys((await import('@weft/recipes')).recipes),
  });
  terminal.stdout.write(found.map((word) => `${word}\n`).join(''));
  return EXIT.done;
}
