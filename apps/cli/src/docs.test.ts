import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { expect, it } from 'vitest';
import { commandTree } from './main.js';
import { recordedTerminal } from './testing/fixtures.js';

const page = readFileSync(new URL('../../../docs/cli.md', import.meta.url), 'utf8');
const tree = commandTree(recordedTerminal(), async () => {});
/** Other apps, which read their own options. */
const APPS = ['coordinator', 'worker'];
/** Groups that do something by themselves. */
const ACTING_GROUPS = ['queue'];

/** The example lines of the page, as words after `weft`. */
const examples = [...page.matchAll(/^weft (.+)$/gm)].map(([, words]) => (words ?? '').split(' '));

/** The command that the words name, and the words that follow. */
function find(command: Command, words: readonly string[]): { command: Command; rest: readonly string[] } {
  const next = command.commands.find((each) => each.name() === words[0]);
  return next === undefined ? { command, rest: words } : find(next, words.slice(1));
}

const leaves = (command: Command): Command[] =>
  command.commands.length === 0 ? [command] : command.commands.flatMap(leaves);

it.each(examples.map((words) => [words.join(' '), words] as const))('the example `weft %s` parses', (_, words) => {
  const { command, rest } = find(tree, words);
  if (APPS.includes(command.name())) return;
  const isGroup = command.commands.length > 0 && !ACTING_GROUPS.includes(command.name());
  expect(isGroup && !rest[0]?.startsWith('-'), `${rest[0]} is no command`).toBe(false);
  const known = [...command.options.flatMap(({ long, short }) => [long, short]), '--help'];
  for (const word of rest.filter((each) => each.startsWith('-'))) expect(known).toContain(word);
  if (rest.includes('--help') || command === tree) return;
  expect(() => command.parseOptions([...rest])).not.toThrow();
  const { operands } = command.parseOptions([...rest]);
  expect(operands.length).toBeGreaterThanOrEqual(command.registeredArguments.filter(({ required }) => required).length);
});

it('the page shows every command and names every option', () => {
  for (const command of leaves(tree)) {
    // The scripts of `weft completion` call it; nobody types it.
    if (command.name() === 'complete') continue;
    const names: string[] = [];
    for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name());
    expect(page).toMatch(new RegExp(`^weft ${names.join(' ')}\\b`, 'm'));
    for (const { long, hidden } of command.options) if (!hidden) expect(page, names.join(' ')).toContain(long);
  }
});
