import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Random } from './random.js';
import { isRunId, newRunId } from './run-id.js';

const at = Date.UTC(2026, 10, 23, 5, 58, 41);

it('a run id holds the recipe, the minute in UTC, and four characters that make it unique', () => {
  expect(newRunId('debugTiny', at, Random.of(1))).toMatch(/^debug-tiny-20261123-0558-[2-9a-hjkmnp-z]{4}$/);
  expect(newRunId('mm1-3b', at, Random.of(1))).toMatch(/^mm1-3b-20261123-0558-/);
});

it('two runs of the same minute differ', () => {
  const random = Random.of('ids');
  expect(newRunId('debugTiny', at, random)).not.toBe(newRunId('debugTiny', at, random));
});

it('any recipe name gives an id that is safe as a directory name', () => {
  fc.assert(fc.property(fc.string({ unit: 'grapheme' }), (name) => isRunId(newRunId(name, at, Random.of(name)))));
});

it.each(['', '..', 'a/b', '-a', 'a--b', 'A', 'a\n', 'x'.repeat(101)])('refuses %j as a run id', (text) => {
  expect(isRunId(text)).toBe(false);
});
