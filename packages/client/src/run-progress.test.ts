import { parseMetricsRow } from '@weft/contracts';
import { exampleRun, exampleStep, timeMsOfStep } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { firstAndLastLoss, RunProgress } from './run-progress.js';

describe('the progress of a run', () => {
  it('forgets steps that were rolled back, with their sequences', () => {
    const progress = new RunProgress(exampleRun());
    for (const step of [1, 2, 3, 4, 5, 3, 4]) progress.addStep(exampleStep(step));
    expect(progress.metrics.map(({ step }) => step)).toEqual([1, 2, 3, 4]);
    expect(progress.view(0).sequences).toEqual({ captioned: 16, interleaved: 12, text: 4 });
  });

  it('counts the time left down between two steps, and never below the steps that are left', () => {
    const progress = new RunProgress(exampleRun());
    for (let step = 1; step <= 40; step++) progress.addStep(exampleStep(step));
    const timeMs = timeMsOfStep(40);
    expect(progress.view(timeMs).etaSeconds).toBe(40);
    expect(progress.view(timeMs + 1500).etaSeconds).toBe(38.5);
    expect(progress.view(timeMs + 600_000).etaSeconds).toBe(38);
  });

  it('does not let a pause of the run into the time left', () => {
    const progress = new RunProgress(exampleRun());
    for (let step = 1; step <= 20; step++) progress.addStep(exampleStep(step));
    const paused = 3_600_000;
    for (const step of [21, 22]) {
      const time = new Date(timeMsOfStep(step) + paused).toISOString();
      progress.addStep(exampleStep(step, { time }));
    }
    expect(progress.view(timeMsOfStep(22) + paused).etaSeconds).toBe(38 * 2);
  });

  it('keeps some of the older rows of a long run, and all that a view shows', () => {
    const progress = new RunProgress(exampleRun());
    const heldOut = { loss: 5, sources: {}, seconds: 1 };
    for (let step = 1; step <= 30_001; step++) progress.addStep(exampleStep(step, step === 77 ? { heldOut } : {}));
    expect(progress.metrics.length).toBeLessThanOrEqual(10_000);
    const steps = progress.metrics.map(({ step }) => step);
    expect(steps.slice(0, 3)).toEqual([1, 2, 3]);
    expect(steps.slice(-5000)).toEqual(Array.from({ length: 5000 }, (_, at) => 25_002 + at));
    const view = progress.view(0);
    expect(view.heldOut?.step).toBe(77);
    expect(view.sequencesAreWhole).toBe(true);
    expect(view.losses.length).toBeGreaterThan(300);
    expect(view.sequences).toEqual({ captioned: 4 * 30_001, interleaved: 3 * 30_001, text: 30_001 });
  });

  it('reports whether it has counted every sequence of the run', () => {
    const late = new RunProgress(exampleRun({ step: 30 }));
    late.addStep(exampleStep(31));
    expect(late.view(0).sequencesAreWhole).toBe(false);
  });

  it('reports a lost worker, the new ring, a saved checkpoint and a step that was refused', () => {
    const progress = new RunProgress(exampleRun());
    const reason = 'the ring forms anew: worker 1 left';
    expect(progress.updateRun(exampleRun({ worldSize: 0, reason }))).toEqual([reason]);
    expect(progress.updateRun(exampleRun({ generation: 2, worldSize: 1 }))).toEqual([
      'worker lost, generation 2 with 1 worker',
    ]);
    expect(progress.updateRun(exampleRun({ generation: 3, worldSize: 2 }))).toEqual([
      'worker joined, generation 3 with 2 workers',
    ]);
    expect(progress.updateRun(exampleRun({ generation: 3, worldSize: 2, checkpointStep: 20 }))).toEqual([
      'checkpoint of step 20 saved',
    ]);
    expect(progress.addStep(exampleStep(21, { loss: null }))).toEqual([
      'step 21 was counted but not applied: its gradients were not finite',
    ]);
    expect(progress.addStep(exampleStep(22, { loss: 0, gradNorm: 0 }))).toEqual([
      'step 22 was counted but not applied: no targets in this step',
    ]);
  });

  it('compares the first losses with the last ones', () => {
    const metrics = [1, 2, 3, 4, 5, 6].map((loss, at) => exampleStep(at + 1, { loss }));
    expect(firstAndLastLoss(metrics)).toEqual({ first: 3, last: 4 });
    expect(firstAndLastLoss([])).toEqual({});
  });
});

describe('a line of metrics.jsonl', () => {
  it('is read as it was written, with what rank 0 could not report', () => {
    const step = exampleStep(7, { tokensPerSecond: null, learningRate: null });
    expect(parseMetricsRow(JSON.stringify(step))).toEqual(step);
  });

  it('is skipped when it is torn', () => {
    expect(parseMetricsRow('{"step": 3, "lo')).toBeUndefined();
    expect(parseMetricsRow('[]')).toBeUndefined();
  });

  it('reports every evaluation, and keeps the last', () => {
    const progress = new RunProgress(exampleRun());
    const heldOut = { loss: 2.5, sources: { captioned: 2, interleaved: 3, text: null }, seconds: 0.1 };
    expect(progress.view(0).heldOut).toBeUndefined();
    expect(progress.addStep(exampleStep(1, { heldOut }))).toEqual(['held-out loss 2.5000 after step 1']);
    expect(progress.addStep(exampleStep(2))).toEqual([]);
    expect(progress.view(0).heldOut).toEqual({ ...heldOut, step: 1 });
  });

  it('reports scores of tasks when they are taken, and keeps the last ones', () => {
    const progress = new RunProgress(exampleRun());
    const taskScores = {
      ...{ scores: { coco: { '0': 12.345, '8': null }, vqa: { '0': 50 } }, average: { '0': 31.1725, '8': null } },
      ...{ textAverage: {}, seconds: 1 },
    };
    expect(progress.addStep(exampleStep(1, { taskScores }))).toEqual([
      'scores after step 1: coco 12.3 (0-shot), none (8-shot); vqa 50.0 (0-shot)',
    ]);
    progress.addStep(exampleStep(2));
    expect(progress.view(0).taskScores).toEqual({ ...taskScores, step: 1 });
  });
});
