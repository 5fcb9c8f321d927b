import { expect, test } from 'vitest';
import { canResizePositions, resizePositions } from './resize-positions.js';

/** (i² mod 7) for every number of a 3 × 3 grid of width 2. */
const table = Float32Array.from({ length: 18 }, (_, i) => (i * i) % 7);

/** torch.nn.functional.interpolate(…, mode='bicubic', align_corners=False, antialias=False) of PyTorch 2.15. */
const TO_2 = [0.904007, 1.115952, 2.366425, 3.386963, 2.502243, 0.961182, 2.657013, 1.924545];
const TO_5 = [
  -0.516864, 1.027648, 1.769729, 1.200609, 4.288, 1.808, 3.203392, 3.318273, 1.780353, 4.420865, -0.090655, 0.304608,
  1.309312, 1.474672, 2.907999, 2.992, 2.461167, 3.310527, 1.755009, 3.246272, 1.0, -0.384, 0.928, 1.696001, 1.0, 4.0,
  1.612, 3.063999, 2.096, 1.808, 3.170656, 0.370273, 1.626688, 1.258528, 0.172001, 2.308, 1.842834, 2.158672, 3.516993,
  1.812609, 4.708865, 1.132864, 2.278272, 0.854272, -0.096, 0.712, 2.21261, 1.472609, 4.60365, 2.123648,
];

test.each([
  [2, TO_2],
  [5, TO_5],
])("positions of a 3 × 3 grid become those of %d cells a side as PyTorch's do", (side, expected) => {
  const resized = resizePositions(table, [9, 2], [side ** 2, 2]);
  expect(resized).toHaveLength(expected.length);
  for (const [i, value] of resized.entries()) expect(Math.abs(value - (expected[i] ?? Number.NaN))).toBeLessThan(1e-5);
});

/** Eight values of what PyTorch gives at equal distances, and the sum of all times cos(0.37·i). */
test.each([
  [32, [-0.2713193, -0.835983, 0.8812038, -0.4823746, 0.2426339, -0.0823863, 0.1135797, 0.4396065], 151.895249],
  [40, [-0.2304518, -0.9538044, -0.5851946, 0.0674404, 0.4906256, 0.5011944, -1.0207055, 0.4821424], 0.790473],
  [48, [-0.2122272, 0.4010629, -0.9632775, -0.292209, 0.217332, 0.8979756, -0.7727378, 0.4995613], -5.981297],
])(
  'an encoder of 378 pixels reads %d patches a side: PyTorch to 1e-5, the class token as it was',
  (side, expected, sum) => {
    const rows = 27 ** 2 + 1;
    const table = Float32Array.from({ length: rows * 2 }, (_, i) => ((i * i * 7 + i * 3) % 101) / 50 - 1);
    const resized = resizePositions(table, [rows, 2], [side ** 2 + 1, 2]);
    expect([...resized.subarray(0, 2)]).toEqual([...table.subarray(0, 2)]);
    const grid = resized.subarray(2);
    for (const [i, value] of expected.entries())
      expect(Math.abs((grid[Math.trunc((i * (grid.length - 1)) / 7)] ?? Number.NaN) - value)).toBeLessThan(1e-5);
    const weighted = grid.reduce((total, value, i) => total + value * Math.cos(0.37 * i), 0);
    expect(weighted).toBeCloseTo(sum, 3);
  },
);

test('the row of a class token stays in front', () => {
  const withToken = Float32Array.from([7, 8, ...table]);
  const resized = resizePositions(withToken, [10, 2], [26, 2]);
  expect([...resized.subarray(0, 2)]).toEqual([7, 8]);
  expect(resized.subarray(2)).toEqual(resizePositions(table, [9, 2], [25, 2]));
  expect(resizePositions(withToken, [10, 2], [10, 2])).toEqual(withToken);
});

test('tables of other widths, or of which one alone has a class token, are no such pair', () => {
  expect(canResizePositions([9, 2], [25, 2])).toBe(true);
  expect(canResizePositions([10, 2], [26, 2])).toBe(true);
  expect(canResizePositions([9, 2], [25, 3])).toBe(false);
  expect(canResizePositions([10, 2], [25, 2])).toBe(false);
  expect(canResizePositions([8, 2], [25, 2])).toBe(false);
});
