import { expect, it } from 'vitest';
import { fitLaw } from '../fits/fit-law.js';
import { FORMS } from '../laws/power-law.js';
import { predict } from '../laws/predict.js';
import { publishedLaw } from '../laws/published-laws.js';
import { logAxis } from './axes.js';
import { lawPlot } from './law-plot.js';

const points = [1e6, 1e7, 1e8, 1e9].map((params, i) => ({ params, value: (1 + 0.1 * (i % 2)) * params ** -0.4 }));
const { law } = fitLaw(points, { name: 'mine', form: FORMS['eta-n'], source: 'a test' });
const predictions = [predict(law, { params: 3e10 })];
const count = (text: string, what: RegExp) => text.match(what)?.length ?? 0;

it('shows points, line, band, prediction, and labelled axes', () => {
  const picture = lawPlot({
    law,
    points,
    predictions,
    title: 'a < b & "c"',
    bars: [{ low: 1e-3, high: 1e-2 }, null, null, null],
  });
  expect(picture).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" viewBox="0 0 720 460"/);
  expect(count(picture, /<circle /g)).toBe(points.length);
  expect(count(picture, /<path /g)).toBe(3);
  expect(picture).toContain('>N, non-embedding parameters<');
  expect(picture).toContain('>η, peak learning rate<');
  expect(picture).toContain('95 % prediction interval');
  expect(picture).toContain('a &lt; b &amp; &quot;c&quot;');
  for (const decade of ['1e6', '1e7', '1e8', '1e9', '1e10']) expect(picture).toContain(`>${decade}<`);
  expect(picture).not.toMatch(/NaN|Infinity|undefined/);
});

it('keeps everything inside the frame', () => {
  const picture = lawPlot({ law, points, predictions });
  const numbers = (name: string) =>
    [...picture.matchAll(new RegExp(` ${name}="([^"]+)"`, 'g'))].map(([, text]) => Number(text));
  for (const x of numbers('cx')) expect(x).toBeGreaterThan(78);
  for (const y of numbers('cy')) expect(y).toBeLessThan(396);
  const path = picture.match(/<path d="([^"]+)Z"/)?.[1] ?? '';
  const coordinates = [...path.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)].map(([, x, y]) => [Number(x), Number(y)]);
  expect(coordinates).toHaveLength(130);
  for (const [x = 0, y = 0] of coordinates) expect(x >= 78 && x <= 700 && y >= 56 && y <= 396).toBe(true);
});

it('draws a published law without a band, and one of two variables along the first', () => {
  expect(lawPlot({ law: publishedLaw('mm1') })).not.toContain('prediction interval');
  const both = publishedLaw('step-law');
  const picture = lawPlot({ law: both, predictions: [predict(both, { params: 1e9, tokens: 1e11 })] });
  expect(picture).toContain('at D = 1e11');
  expect(picture).not.toMatch(/NaN|undefined/);
});

it('an axis labels few values, whatever it spans', () => {
  for (const values of [
    [3, 4],
    [1, 9],
    [1, 1000],
    [1e-5, 1e-2],
    [1, 1e30],
  ]) {
    const { ticks, scale: place } = logAxis(values, 0, 100);
    expect(ticks.length).toBeGreaterThan(0);
    expect(ticks.length).toBeLessThan(10);
    for (const value of values) expect(place(value) > 0 && place(value) < 100).toBe(true);
  }
});

it('draws the band at the level asked for', () => {
  expect(lawPlot({ law, points, level: 0.57 })).toContain('band: 57 % prediction interval');
});

it('no label of a prediction covers another one, nor a mark', () => {
  const near = [3e9, 3.5e9, 4e9, 3e10].map((params) => predict(law, { params }));
  const picture = lawPlot({ law, points, predictions: near });
  const labels = [
    ...picture.matchAll(/<text x="([\d.]+)" y="([\d.]+)" text-anchor="(start|end)" fill="#c2410c">([^<]+)</g),
  ].map(([, x, y, anchor, text = '']) => {
    const width = 7 * text.length;
    const left = anchor === 'start' ? Number(x) : Number(x) - width;
    return { left, right: left + width, top: Number(y) - 10, bottom: Number(y) };
  });
  expect(labels).toHaveLength(4);
  for (const [i, a] of labels.entries())
    for (const b of labels.slice(0, i))
      expect(a.left >= b.right || b.left >= a.right || a.top >= b.bottom || b.top >= a.bottom).toBe(true);
});
