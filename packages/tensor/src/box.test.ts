import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Box, boxRuns, cut, elementsOf, paste, wholeBox } from './box.js';
import { elementCount } from './program.js';

/** An array, and into how many equal parts every axis is cut. */
const grids = fc
  .array(fc.record({ part: fc.integer({ min: 1, max: 4 }), parts: fc.integer({ min: 1, max: 3 }) }), { maxLength: 4 })
  .map((axes) => ({ shape: axes.map(({ part, parts }) => part * parts), parts: axes.map(({ parts }) => parts) }));

/** The boxes of a grid, in order. */
function boxesOf(shape: readonly number[], parts: readonly number[]): Box[] {
  const size = shape.map((length, axis) => length / parts[axis]!);
  const begins = parts.reduce<number[][]>(
    (boxes, count, axis) =>
      boxes.flatMap((begin) => Array.from({ length: count }, (_, part) => [...begin, part * size[axis]!])),
    [[]],
  );
  return begins.map((begin) => ({ begin, size }));
}

test('boxes of a grid, cut out and pasted, are the array, and so is the stream of their elements', () => {
  fc.assert(
    fc.property(grids, fc.nat(), fc.nat(), ({ shape, parts }, a, b) => {
      const count = elementCount(shape);
      const array = Float32Array.from({ length: count }, (_, i) => i);
      const filled = boxesOf(shape, parts).map((box) => ({ box, values: cut(array, shape, box) }));
      const joined = new Float32Array(count).fill(-1);
      for (const { box, values } of filled) paste(joined, shape, box, values);
      expect(joined).toEqual(array);
      // Streams of all, and of a range.
      const [first, end] = [Math.min(a % (count + 1), b % (count + 1)), Math.max(a % (count + 1), b % (count + 1))];
      const streamed = (...range: number[]) => [...elementsOf(shape, filled, ...range)].flatMap((piece) => [...piece]);
      expect(streamed()).toEqual([...array]);
      expect(streamed(first, end)).toEqual([...array.subarray(first, end)]);
    }),
  );
});

test('a stream of boxes comes in pieces, and what lies in one box is a view on it', () => {
  const shape = [3000, 2, 400];
  const array = Float32Array.from({ length: elementCount(shape) }, (_, i) => i);
  const filled = boxesOf(shape, [1, 2, 1]).map((box) => ({ box, values: cut(array, shape, box) }));
  let at = 0;
  for (const piece of elementsOf(shape, filled)) {
    expect(piece.length).toBeLessThanOrEqual(2 ** 20);
    expect(piece.every((value, i) => value === at + i)).toBe(true);
    at += piece.length;
  }
  expect(at).toBe(array.length);
  const [whole] = elementsOf(shape, [{ box: wholeBox(shape), values: array }], 400, 1200);
  expect(whole?.buffer).toBe(array.buffer);
  expect([whole?.[0], whole?.length]).toEqual([400, 800]);
});

test('runs are as long as the last axis that is cut allows', () => {
  expect(boxRuns([4, 3, 5], { begin: [1, 0, 0], size: [2, 3, 5] })).toEqual({ starts: [15], length: 30 });
  expect(boxRuns([4, 3, 5], { begin: [0, 1, 0], size: [2, 1, 5] })).toEqual({ starts: [5, 20], length: 5 });
  expect(boxRuns([], wholeBox([]))).toEqual({ starts: [0], length: 1 });
});
