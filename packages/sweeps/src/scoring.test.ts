import { describe, expect, it } from 'vitest';
import { earlyStopReason } from './early-stop.js';
import { scoreOf } from './score.js';
import { centerOut } from './sweep-plan.js';

it('rates are tried from the middle outwards', () => {
  expect(centerOut([1, 2, 3, 4, 5])).toEqual([3, 4, 2, 5, 1]);
  expect(centerOut([1, 2, 3, 4])).toEqual([2, 3, 1, 4]);
  expect(centerOut([1])).toEqual([1]);
  expect(centerOut([])).toEqual([]);
});

describe('a run is given up', () => {
  const rule = { afterPart: 0.5, worseBy: 0.1 };
  const flat = (loss: number | null, steps: number) => Array.from({ length: steps }, () => loss);

  it('when it is far above the best of its scale at the same step, once it has had its time', () => {
    const good = flat(2, 40);
    expect(earlyStopReason(flat(2.3, 20), 40, [good], rule)).toBe(
      'at step 20 its loss is 15 % above the best of its scale',
    );
    expect(earlyStopReason(flat(2.3, 19), 40, [good], rule)).toBeUndefined();
    expect(earlyStopReason(flat(2.19, 30), 40, [good], rule)).toBeUndefined();
  });

  it('not when nobody has come as far, and not because of one bad step', () => {
    expect(earlyStopReason(flat(9, 30), 40, [flat(2, 29)], rule)).toBeUndefined();
    expect(earlyStopReason(flat(9, 30), 40, [], rule)).toBeUndefined();
    expect(earlyStopReason([...flat(2, 29), 3], 40, [flat(2, 40)], rule)).toBeUndefined();
  });

  it('not when it is nearly done', () => {
    expect(earlyStopReason(flat(9, 36), 40, [flat(2, 40)], rule)).toBeDefined();
    expect(earlyStopReason(flat(9, 37), 40, [flat(2, 40)], rule)).toBeUndefined();
  });

  it('when its loss is no number any more, at any time', () => {
    expect(earlyStopReason([2, ...flat(null, 5)], 40, [], rule)).toBe('its loss has not been finite for 5 steps');
    expect(earlyStopReason([2, ...flat(null, 4)], 40, [], rule)).toBeUndefined();
  });

  it('compared with a sibling that diverged it is not', () => {
    expect(earlyStopReason(flat(2, 30), 40, [flat(null, 40)], rule)).toBeUndefined();
  });
});

describe('what a run comes to', () => {
  const rows = (losses: readonly (number | null)[]) => losses.map((loss, i) => ({ step: i + 1, loss }));

  it('is the mean of its last training losses, or nothing when one was not finite', () => {
    expect(scoreOf(rows([9, 3, 2, 1]), 'trainingLoss', 3)).toBe(2);
    expect(scoreOf(rows([1]), 'trainingLoss', 3)).toBe(1);
    expect(scoreOf(rows([9, 3, null, 1]), 'trainingLoss', 3)).toBeNull();
    expect(scoreOf([], 'trainingLoss', 3)).toBeNull();
  });

  it('is its last held-out loss, of all sources or of one', () => {
    const heldOut = { loss: 2.5, sources: { captioned: 2, interleaved: 3, text: null } };
    const evaluated = [{ heldOut: { loss: 9, sources: {} } }, { loss: 1, heldOut }, { loss: 1 }];
    expect(scoreOf(evaluated, 'heldOutLoss', 3)).toBe(2.5);
    expect(scoreOf(evaluated, 'heldOutLoss.interleaved', 3)).toBe(3);
    expect(scoreOf(evaluated, 'heldOutLoss.text', 3)).toBeNull();
    expect(scoreOf(rows([1]), 'heldOutLoss', 3)).toBeNull();
  });

  it('is the mean of any other field over its last steps, and over MoE layers', () => {
    const layers = [{ droppedShare: 0.1 }, { droppedShare: 0.3 }];
    const row = (gradNorm: number) => ({ gradNorm, seconds: { compute: 2 * gradNorm }, moe: { layers } });
    const measured = [row(9), row(1), row(2)];
    expect(scoreOf(measured, 'gradNorm', 2)).toBe(1.5);
    expect(scoreOf(measured, 'seconds.compute', 2)).toBe(3);
    expect(scoreOf(measured, 'moe.droppedShare', 2)).toBeCloseTo(0.2, 12);
    expect(scoreOf(rows([1]), 'moe.droppedShare', 2)).toBeNull();
    expect(scoreOf(rows([1]), 'tokensPerSecond', 2)).toBeNull();
  });
});
