import { expect, it } from 'vitest';
import { processNowMs, type RecordedSpan, SpanRecorder } from './span-recorder.js';

function recorder(firstStep: number, lastStep: number) {
  const spans = new SpanRecorder();
  const done: { names: string[]; leftOut: number; spans: readonly RecordedSpan[] }[] = [];
  spans.record({
    firstStep,
    lastStep,
    onDone: (all, leftOut) => done.push({ names: all.map(({ name }) => name), leftOut, spans: all }),
  });
  return { spans, done };
}

it('spans of the steps that were asked for are kept, and none before and after', () => {
  const { spans, done } = recorder(3, 4);
  for (let step = 1; step <= 6; step++) {
    spans.atStep(step);
    spans.add('step', `step ${step}`, performance.now());
    if (step < 5) expect(done).toEqual([]);
  }
  expect(done.map(({ names }) => names)).toEqual([['step 3', 'step 4']]);
});

it('a recording ends early when the generation does, and when another begins', () => {
  const { spans, done } = recorder(1, 9);
  spans.atStep(1);
  spans.add('step', 'half', performance.now());
  spans.finish();
  spans.finish();
  expect(done.map(({ names }) => names)).toEqual([['half']]);
  spans.record({ firstStep: 1, lastStep: 2, onDone: () => done.push({ names: ['cut'], leftOut: 0, spans: [] }) });
  spans.record({ firstStep: 1, lastStep: 2, onDone: () => {} });
  expect(done.at(-1)?.names).toEqual(['cut']);
});

it('times are those of the process clock', () => {
  const { spans, done } = recorder(1, 1);
  const before = processNowMs();
  const beganMs = performance.now();
  spans.atStep(1);
  spans.add('ring', 'bucket/0', beganMs, { elements: 7 });
  const after = processNowMs();
  spans.finish();
  const [{ beginMs, durationMs, details } = expect.fail()] = done[0]?.spans ?? [];
  expect(details).toEqual({ elements: 7 });
  expect(beginMs).toBeGreaterThanOrEqual(before - 0.01);
  expect(beginMs + durationMs).toBeLessThanOrEqual(after + 0.01);
});

it('only so many spans are kept', () => {
  const { spans, done } = recorder(1, 1);
  spans.atStep(1);
  for (let at = 0; at < 20_003; at++) spans.add('step', 'x', 0);
  spans.finish();
  expect([done[0]?.names.length, done[0]?.leftOut]).toEqual([20_000, 3]);
});
