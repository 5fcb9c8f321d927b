import { RunProgress } from '@weft/client';
import { exampleRun, exampleStep, timeMsOfStep } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { lineWidth } from '../styled-lines.js';
import { plainInterval, renderBlock, renderPlainStep, sparkline, trendMark } from './render-progress.js';

const text = (lines: ReturnType<typeof renderBlock>) => lines.map((line) => line.map((piece) => piece.text).join(''));

function progressAt(step: number, run = exampleRun()) {
  const progress = new RunProgress(run);
  for (let at = 1; at <= step; at++) progress.addStep(exampleStep(at));
  return progress;
}

describe('the block a terminal redraws', () => {
  it('shows step, loss, trend, speed, time left and sequences per source', () => {
    const progress = progressAt(23);
    expect(text(renderBlock(progress.view(timeMsOfStep(23)), 100))).toEqual([
      'debug-tiny-20261123-0558-k3f9  2 workers',
      '███████████████░░░░░░░░░░░░░░░░░░░░░░░░░  23/60  38 %  eta 1m 14s',
      'loss 2.7907 ↓ █▇▇▆▆▅▅▅▄▄▄▃▃▃▃▂▂▂▂▂▁▁▁  512 tokens/s  2s a step  lr 0.0010  gradNorm 1.5000',
      'sequences  captioned 92  interleaved 69  text 23',
    ]);
  });

  it('shows what the task measures beside the loss', () => {
    const progress = new RunProgress(exampleRun());
    progress.addStep({ ...exampleStep(1), measures: { accuracy: 0.625, scale: 14.3 } });
    expect(text(renderBlock(progress.view(0), 100))).toContain('accuracy 0.6250  scale 14.30');
    expect(renderPlainStep(progress.view(0))).toContain('  accuracy 0.6250  scale 14.30  512 tokens/s');
  });

  it('never grows wider than the terminal, and drops ornaments before numbers', () => {
    const view = progressAt(23).view(0);
    for (let columns = 10; columns <= 120; columns++)
      for (const line of renderBlock(view, columns)) expect(lineWidth(line)).toBeLessThanOrEqual(columns);
    expect(text(renderBlock(view, 24))[1]).toBe('23/60  38 %  eta 1m 14s');
    expect(text(renderBlock(view, 60))[2]).toBe('loss 2.7907 ↓  512 tokens/s  2s a step  lr 0.0010  gradNorm…');
  });

  it('says why a queued run waits, before there is any step', () => {
    const run = exampleRun({ status: 'queued', reason: 'waiting for 1 more worker' });
    expect(text(renderBlock(new RunProgress(run).view(0), 80))).toEqual([
      'debug-tiny-20261123-0558-k3f9  2 workers  queued  waiting for 1 more worker',
      '░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░░  0/60  0 %',
    ]);
  });

  it('draws a falling loss as a falling chart and a flat one as a flat chart', () => {
    expect(sparkline([8, 7, 6, 5, 4, 3, 2, 1], 8)).toBe('█▇▆▅▄▃▂▁');
    expect(sparkline([8, 8, 1, 1], 2)).toBe('█▁');
    expect(sparkline([3, 3, 3], 8)).toBe('▁▁▁');
    expect([-0.5, 0.0001, 0.5, undefined].map(trendMark)).toEqual(['↓', '→', '↑', '']);
  });
});

describe('the lines a log gets', () => {
  it('hold the same facts', () => {
    const progress = progressAt(20);
    expect(renderPlainStep(progress.view(timeMsOfStep(20)))).toBe(
      'step 20/60  loss 3.0000 ↓  512 tokens/s  captioned 80 interleaved 60 text 20  eta 1m 20s',
    );
    expect(renderPlainStep(progressAt(60).view(0))).not.toContain('eta');
  });

  it('come about twenty times in a run, at round steps', () => {
    expect([1, 20, 21, 60, 100, 101, 1000, 200_000].map(plainInterval)).toEqual([1, 1, 2, 5, 5, 10, 50, 10_000]);
  });
});
