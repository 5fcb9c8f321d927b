import { expect, test } from 'vitest';
import { parseMoeArguments } from './moe-arguments.js';

test('without options everything is measured', () => {
  expect(parseMoeArguments([])).toMatchObject({
    parts: ['layer', 'placement'],
    expertWorkers: [0, 1, 2, 4],
    sizes: ['moe-256', 'moe-512'],
    precisions: ['fp32', 'bf16'],
    threads: [1, 2],
  });
});

test.each([
  [['--sizes', 'moe-3'], '--sizes has "moe-3", which is none of moe-256, moe-512'],
  [['--parts', 'experts'], '--parts has "experts", which is none of layer, placement'],
  [['--expert-workers', '1,x'], '--expert-workers is "x", not a whole number from 0'],
  [['--rounds', '0'], '--rounds is "0", not a whole number from 1'],
  [['--cores', '2'], "Unknown option '--cores'"],
])('refuses %s', (words, message) => {
  expect(() => parseMoeArguments(words)).toThrow(message);
});
