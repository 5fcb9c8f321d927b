import { expect, it } from 'vitest';
import { mapSources, ofSource, perSource } from './source.js';

it('values per source keep the order of the sources', () => {
  const values = perSource(['web', 'books', 'art'], (source, index) => `${source} ${index}`);
  expect(Object.entries(values)).toEqual([
    ['web', 'web 0'],
    ['books', 'books 1'],
    ['art', 'art 2'],
  ]);
  expect(Object.keys(mapSources(values, (value) => value.length))).toEqual(['web', 'books', 'art']);
});

it('the value of a source that does not exist is refused with those that do', () => {
  expect(ofSource({ web: 0 }, 'web')).toBe(0);
  expect(() => ofSource({ web: 0, books: 1 }, 'art')).toThrow('there is no source art; the sources are web, books');
  expect(() => ofSource({ web: 0 }, 'toString')).toThrow('there is no source toString');
});
