import { expect, it } from 'vitest';
import { differences, flattened } from './differences.js';

it('a configuration is flattened to the paths that --set takes; a list and an empty object are one value', () => {
  expect([...flattened({ steps: 3, data: { weights: [4, 4, 1], sources: {} }, name: 'a' })]).toEqual([
    ['steps', '3'],
    ['data.weights', '[4,4,1]'],
    ['data.sources', '{}'],
    ['name', '"a"'],
  ]);
});

it('only fields in which not all agree are named, also those that one of them lacks', () => {
  const configs = [
    { a: 1, b: { c: 'x', d: 2 } },
    { a: 1, b: { c: 'y' } },
    { a: 1, b: { c: 'x', d: 2 } },
  ];
  expect(differences(configs)).toEqual([
    { name: 'b.c', values: ['"x"', '"y"', '"x"'] },
    { name: 'b.d', values: ['2', undefined, '2'] },
  ]);
});
