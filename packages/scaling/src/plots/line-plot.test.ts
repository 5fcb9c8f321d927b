import { expect, it } from 'vitest';
import { linearAxis } from './axes.js';
import { linePlot } from './line-plot.js';
import { formatNumber } from './svg.js';

const falling = [1, 100, 200, 300].map((step) => [step, 6 / Math.sqrt(step)] as const);
const picture = (yScale: 'linear' | 'logarithmic') =>
  linePlot({
    title: 'losses & more',
    subtitle: 'of two runs',
    xTitle: 'step',
    yTitle: 'loss',
    yScale,
    groups: [
      { name: 'fp32', color: 'blue', lines: [falling, falling] },
      { name: 'bf16', color: 'red', lines: [falling], dots: [[300, 0.4]] },
    ],
  });
const count = (text: string, what: RegExp) => text.match(what)?.length ?? 0;

it.each(['linear', 'logarithmic'] as const)('shows lines, dots, a legend and labelled axes, %s', (yScale) => {
  const text = picture(yScale);
  expect(count(text, /<path /g)).toBe(3);
  expect(count(text, /<circle /g)).toBe(1);
  for (const words of ['losses &amp; more', 'of two runs', 'step', 'loss', 'fp32', 'bf16', '100', '300'])
    expect(text).toContain(`>${words}<`);
  expect(text).not.toMatch(/NaN|Infinity|undefined/);
});

it('keeps lines inside the frame', () => {
  const coordinates = [...picture('linear').matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)].map(([, x, y]) => [+x!, +y!]);
  expect(coordinates).toHaveLength(12);
  for (const [x = 0, y = 0] of coordinates) expect(x >= 78 && x <= 700 && y >= 56 && y <= 396).toBe(true);
});

it('labels a linear axis at round values only', () => {
  expect(linearAxis([0, 300], 0, 1).ticks).toEqual([0, 50, 100, 150, 200, 250, 300]);
  expect(linearAxis([-0.013, 0.021], 0, 1).ticks).toEqual([-0.01, -0.005, 0, 0.005, 0.01, 0.015, 0.02]);
  expect(linearAxis([5, 5], 0, 1).ticks).toContain(5);
});

it('writes zero and values below it as people do', () => {
  expect([0, -0.05, -20_000, 0.00005].map(formatNumber)).toEqual(['0', '−0.05', '−2e4', '5e-5']);
});
