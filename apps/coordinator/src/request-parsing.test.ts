import { expect, it } from 'vitest';
import { parseJson } from './request-parsing.js';

const nested = (depth: number) => `{"a":${'['.repeat(depth)}${']'.repeat(depth)}}`;

it('JSON of a request is refused where it is nested too deeply, and brackets within texts do not count', () => {
  expect(() => parseJson(nested(100_000), 'the configuration')).toThrow(
    'the configuration is nested more than 100 levels deep',
  );
  expect(() => parseJson(nested(100), 'the configuration')).toThrow('nested more than 100 levels deep');
  expect(parseJson(nested(99), 'the configuration')).toHaveProperty('a');
  expect(parseJson(JSON.stringify('['.repeat(1000)), 'the configuration')).toBe('['.repeat(1000));
});

it('what is not JSON is refused by its name', () => {
  expect(() => parseJson('{', 'the configuration')).toThrow('the configuration is not JSON');
});
