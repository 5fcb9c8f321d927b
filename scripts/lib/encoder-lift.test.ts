import { expect, it } from 'vitest';
import { isLifted, summary } from './encoder-lift.mjs';

const at = (loss: number, score: number) => [{ loss, score }];

it('an encoder lifts where its loss is lower with every seed, and its score higher on average', () => {
  const random = at(1, 10);
  expect(isLifted({ random, clip: at(0.9, 12), aim: at(0.95, 11) })).toBe(true);
  expect(isLifted({ random, clip: at(0.9, 12), aim: at(1.05, 11) })).toBe(false);
  expect(isLifted({ random, clip: at(0.9, 12), aim: at(0.95, 10) })).toBe(false);
  expect(isLifted({ random, clip: at(Number.NaN, 12), aim: at(0.95, 11) })).toBe(false);
});

it('the table has means, and the values of the seeds behind them', () => {
  const found = { random: [...at(1, 10), ...at(3, 20)], clip: at(0.5, 1), aim: at(0.25, 2) };
  expect(summary(found, [17, 18])).toContain('| random | 2.0000 (1.0000, 3.0000) | 15.00 (10.00, 20.00) |');
});
