import { expect, it } from 'vitest';
import { barPlot } from './bar-plot.js';

const plot = (values: readonly (number | null)[]) =>
  barPlot({
    ...{
      title: 'a < b',
      subtitle: 'of two tasks',
      xTitle: 'score',
      rows: ['coco', 'a name that is much too long to be shown'],
    },
    series: [
      { name: '0-shot', color: 'blue', values },
      { name: '8-shot', color: 'red', values: [114.6, 63.6] },
    ],
  });
const widths = (picture: string, color: string) =>
  [...picture.matchAll(new RegExp(`width="([\\d.]+)" height="10" fill="${color}"`, 'g'))].map(([, width]) =>
    Number(width),
  );

it('shows a bar with its value for every row and series, a legend, and no bar where there is none', () => {
  const picture = plot([73.5, null]);
  expect(widths(picture, 'red').map(Math.round)).toEqual([12, 460, 255]);
  expect(widths(picture, 'blue')).toHaveLength(2);
  for (const words of [
    'a &lt; b',
    'of two tasks',
    'coco',
    'a name that is much too…',
    '0-shot',
    '8-shot',
    '73.5',
    '114.6',
    'score',
  ])
    expect(picture).toContain(`>${words}<`);
  expect(picture).not.toMatch(/NaN|Infinity|undefined/);
});

it('is as high as its rows need, and shows a score of 0', () => {
  expect(plot([0, 0])).toMatch(/viewBox="0 0 720 212"/);
  expect(widths(plot([0, 0]), 'blue')).toEqual([12, 1, 1]);
});
