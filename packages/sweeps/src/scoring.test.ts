import { describe, expect, it } from 'vitest';
import { earlyStopReason, type Losses } from './early-stop.js';
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
  /** Of a run at the rate 8e-3 and siblings at rates that no fit needs it beside. */
  const reason = (losses: Losses, siblings: readonly Losses[]) =>
    earlyStopReason(
      { learningRate: 8e-3, losses },
      40,
      [...siblings, [], []].map((each, at) => ({ learningRate: (at + 1) * 1e-3, losses: each })),
      rule,
    );

  it('when it is far above the best of its scale at the same step, once it has had its time', () => {
    const good = flat(2, 40);
    expect(reason(flat(2.3, 20), [good])).toBe('at step 20 its loss is 15 % above the best of its scale');
    expect(reason(flat(2.3, 19), [good])).toBeUndefined();
    expect(reason(flat(2.19, 30), [good])).toBeUndefined();
  });

  it('not when nobody has come as far, and not because of one bad step', () => {
    expect(reason(flat(9, 30), [flat(2, 29)])).toBeUndefined();
    expect(reason(flat(9, 30), [])).toBeUndefined();
    expect(reason([...flat(2, 29), 3], [flat(2, 40)])).toBeUndefined();
  });

  it('not when it is nearly done', () => {
    expect(reason(flat(9, 36), [flat(2, 40)])).toBeDefined();
    expect(reason(flat(9, 37), [flat(2, 40)])).toBeUndefined();
  });

  it('when its loss is no number any more, at any time', () => {
    expect(reason([2, ...flat(null, 5)], [])).toBe('its loss has not been finite for 5 steps');
    expect(reason([2, ...flat(null, 4)], [])).toBeUndefined();
  });

  it('not beside the best rate, where the fit needs it, on either side', () => {
    const rates = [1e-3, 2e-3, 4e-3, 8e-3, 16e-3, 32e-3, 64e-3];
    const losses = (learningRate: number) => flat(learningRate === 8e-3 ? 2 : 9, 30);
    const runs = rates.map((learningRate) => ({ learningRate, losses: losses(learningRate) }));
    const stopped = runs.filter(
      (run) =>
        earlyStopReason(
          run,
          40,
          runs.filter((other) => other !== run),
          rule,
        ) !== undefined,
    );
    expect(stopped.map(({ learningRate }) => learningRate)).toEqual([1e-3, 64e-3]);
  });

  it('compared with a sibling that diverged it is not', () => {
    expect(reason(flat(2, 30), [flat(null, 40)])).toBeUndefined();
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

  it('is the last score of a task with a number of shots, or the mean over tasks', () => {
    const taskScores = {
      scores: { coco: { 0: 70, 8: 110 }, vqa: { 8: null } },
      average: { 8: 85 },
      textAverage: { 0: 40 },
    };
    const scored = [{ taskScores: { scores: { coco: { 8: 1 } } } }, { loss: 1, taskScores }, { loss: 1 }];
    expect(scoreOf(scored, 'eval.coco.8', 3)).toBe(110);
    expect(scoreOf(scored, 'eval.average.8', 3)).toBe(85);
    expect(scoreOf(scored, 'eval.textAverage.0', 3)).toBe(40);
    expect(scoreOf(scored, 'eval.vqa.8', 3)).toBeNull();
    expect(scoreOf(rows([1]), 'eval.coco.8', 3)).toBeNull();
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
