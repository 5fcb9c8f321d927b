import { expect, test } from 'vitest';
import { parseKitArguments, SECTIONS } from './kit-arguments.js';

test('the kit does everything in less than ten minutes by default', () => {
  expect(parseKitArguments([])).toMatchObject({ only: SECTIONS, budgetSeconds: 540, device: 'gpu', isSmall: false });
});

test('the kit does what is asked for', () => {
  const words = '--only ops,decoder-1b --candidates weft,jax --budget 100 --recompute full --batch 8'.split(' ');
  expect(parseKitArguments(words)).toMatchObject({
    only: ['ops', 'decoder-1b'],
    candidates: ['weft', 'jax'],
    budgetSeconds: 100,
    recompute: 'full',
    batchSize: 8,
  });
});

test.each([
  [['--only', 'op'], '--only has "op"'],
  [['--device', 'tpu'], '--device has "tpu"'],
  [['--peak-tflops', '0'], '--peak-tflops is "0", not a positive number'],
])('the kit refuses %j', (words, message) => {
  expect(() => parseKitArguments(words)).toThrow(message);
});
