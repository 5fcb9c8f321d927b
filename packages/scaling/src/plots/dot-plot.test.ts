import { expect, it } from 'vitest';
import { dotPlot } from './dot-plot.js';

const value = (mean: number, error: number | null = 1) => ({ mean, error, values: [mean - 1, mean + 1] });

it('shows every value, the mean and its error, a panel for each measure, and nothing where there is none', () => {
  const picture = dotPlot({
    title: 'a < b',
    subtitle: 'two seeds',
    rows: [
      { name: 'one', group: 'x' },
      { name: 'a name that is much too long to be shown beside a plot', group: 'y' },
    ],
    panels: [
      { title: '0-shot', rows: [value(10), value(20)] },
      { title: '8-shot', rows: [value(30), null] },
      { title: 'empty', rows: [null, null] },
    ],
  });
  expect(picture.match(/r="3"/g)).toHaveLength(6);
  expect(picture.match(/r="4.5"/g)).toHaveLength(3);
  for (const words of ['a &lt; b', '0-shot', '8-shot', 'empty', 'a name that is much too long to be s…'])
    expect(picture).toContain(words);
  // Rows of one group have one colour.
  expect(new Set(picture.match(/r="4.5" fill="(#\w+)"/g))).toHaveLength(2);
});

it('centres a single value, whatever it is', () => {
  for (const mean of [0, -3, 5e-4]) {
    const rows = [{ name: 'one', group: 'x' }];
    const only = { mean, error: null, values: [mean] };
    expect(dotPlot({ title: '', subtitle: '', rows, panels: [{ title: 'p', rows: [only] }] })).not.toContain('NaN');
  }
});
