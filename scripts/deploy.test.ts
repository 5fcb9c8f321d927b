import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { readFiles } from './checks/files.mjs';

const read = (path: string) => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const optionsIn = (text: string) => [...text.matchAll(/(?<![\w-])--([a-z][a-z-]+)/g)].map(([, name = '']) => name);

/** Options as the sources of the commands declare them; those of the CLI are shared by all its commands. */
const KNOWN: Record<string, ReadonlySet<string>> = {
  coordinator: new Set(optionsIn(read('apps/coordinator/src/options.ts'))),
  worker: new Set(optionsIn(read('apps/worker/src/options.ts'))),
  cli: new Set(optionsIn(read('apps/cli/src/main.ts'))),
};

/** Commands of weft in a file, one a line, each with its options. */
function commandsIn(text: string): { readonly command: string; readonly options: readonly string[] }[] {
  return [...text.matchAll(/(?:npx weft|weft\.js) ([a-z]+)(.*)$/gm)].map(([, command = '', rest = '']) => ({
    command,
    options: optionsIn(rest),
  }));
}

describe('what is written about running on several machines', () => {
  const files = readFiles((path) => path.startsWith('deploy/') || path === 'README.md' || path === 'docs/tour.md');

  it('starts coordinators and workers', () => {
    const commands = files.flatMap(({ text }) => commandsIn(text).map(({ command }) => command));
    expect(commands.filter((command) => command === 'coordinator').length).toBeGreaterThan(2);
    expect(commands.filter((command) => command === 'worker').length).toBeGreaterThan(2);
  });

  it.each(files.map(({ path, text }) => [path, text]))('uses options that exist: %s', (_path, text) => {
    for (const { command, options } of commandsIn(text)) {
      const known = KNOWN[command] ?? KNOWN.cli;
      expect(options.filter((option) => !known?.has(option))).toEqual([]);
    }
  });
});
