import { expect, test } from 'vitest';
import { decodeArray, differenceOf, encodeArray, relativeError } from './arrays.js';

test('arrays survive their text', () => {
  const floats = Float32Array.of(1.5, -0, Number.POSITIVE_INFINITY, 3e-38);
  expect(decodeArray(encodeArray(floats))).toEqual(floats);
  expect(decodeArray(encodeArray(Int32Array.of(7, -2)))).toEqual(Float32Array.of(7, -2));
});

test('differences are over the greatest number, or over 1', () => {
  expect(differenceOf([1, 2], [1, 4])).toBe(0.5);
  expect(differenceOf([0.25], [0.5])).toBe(0.25);
  expect(relativeError([3, 5], [3, 4])).toBe(0.2);
});

test('what is no number, or not there, never agrees', () => {
  for (const difference of [differenceOf, relativeError]) {
    expect(difference([Number.NaN], [1])).toBe(Number.POSITIVE_INFINITY);
    expect(difference([], [1])).toBe(Number.POSITIVE_INFINITY);
  }
});
