import { RunProgress } from '@weft/client';
import { noTime, type RunRank } from '@weft/contracts';
import { exampleRun, exampleStep, timeMsOfStep } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { lineWidth } from '../styled-lines.js';
import { renderWatch } from './render-watch.js';
import { WatchCurves } from './watch-curves.js';

const rank = (number: number, changes: Partial<RunRank> = {}): RunRank => ({
  ...{ workerId: `w${number}`, hostName: `host-${number}`, device: 'cpu', role: 'rank', rank: number },
  ...{ hasVoted: false, silentSeconds: 0, trouble: null },
  steps: [{ step: 9, data: 0.01, compute: 1.5, communication: 0.2, waiting: number === 0 ? 0 : 0.4, apply: 0.05 }],
  ...changes,
});

const spent = { ...noTime(), computing: 80, communicating: 8, starting: 6, waitingForStraggler: 4, recovering: 2 };
const goodput = {
  times: { spent, heldSeconds: 100, atMs: 0, open: null },
  spent,
  goodput: 0.88,
  cost: null,
  secondsPerStep: 2,
};

async function viewOf(steps: number, ranks: readonly RunRank[] = [rank(0), rank(1, { hasVoted: true })]) {
  const run = exampleRun({ step: steps });
  const progress = new RunProgress(run);
  for (let step = 1; step <= steps; step++) {
    const heldOut = step % 5 === 0 ? { heldOut: { loss: 5, sources: { text: 5 }, seconds: 1 } } : {};
    progress.addStep(exampleStep(step, { sourceLoss: { captioned: 5, text: 4 }, ...heldOut }));
  }
  const curves = await WatchCurves.of(run);
  curves.follow(progress.metrics);
  return { view: progress.view(timeMsOfStep(steps)), curves, ranks: { ranks }, goodput };
}

const text = (lines: ReturnType<typeof renderWatch>) => lines.map((line) => line.map((each) => each.text).join(''));

describe('a run that is watched', () => {
  it('shows its curves, who waits for whom, and where its time goes', async () => {
    const lines = text(renderWatch(await viewOf(23), 100, 40));
    expect(lines[0]).toBe('debug-tiny-20261123-0558-k3f9  2 workers');
    expect(lines[1]).toMatch(/23\/60 {2}38 % {2}eta 1m 14s {2}ends (\d+ \w+ )?\d\d:\d\d$/);
    expect(lines.find((line) => line.startsWith('loss  '))).toMatch(/2\.7907 ↓ █▇.*▁$/);
    expect(lines.find((line) => line.startsWith('held-out loss'))).toContain('5.0000');
    expect(lines.find((line) => line.startsWith('loss captioned'))).toContain('5.0000');
    const table = lines.findIndex((line) => line.startsWith('rank'));
    expect(lines.slice(table, table + 3)).toEqual([
      'rank  now               waits  compute  exchange  data  apply  host',
      '0     at work             0ms     1.5s     200ms  10ms   50ms  host-0',
      '1     waits for others  400ms     1.5s     200ms  10ms   50ms  host-1',
    ]);
    const bar = lines.find((line) => line.startsWith('goodput 88 %')) ?? '';
    expect(bar.match(/[█▓▒▚░]/g)).toHaveLength(60);
    expect(lines.at(-1)).toBe('sequences  captioned 92  interleaved 69  text 23');
  });

  it('fits every terminal: no line is wider, and what matters less is left out', async () => {
    const many = await viewOf(
      23,
      Array.from({ length: 64 }, (_, at) => rank(at)),
    );
    for (const columns of [20, 40, 79, 200])
      for (const rows of [4, 8, 12, 20, 60]) {
        const lines = renderWatch(many, columns, rows);
        expect(lines.length).toBeLessThanOrEqual(rows);
        for (const line of lines) expect(lineWidth(line)).toBeLessThanOrEqual(columns);
        expect(text(lines)[1]).toContain('23/60');
        expect(text(lines).some((line) => line.startsWith('loss '))).toBe(true);
      }
    expect(text(renderWatch(many, 100, 60)).join('\n')).toContain('… and 49 that wait longer for the others');
  });

  it('shows of a run that waits why it does', async () => {
    const run = exampleRun({ status: 'queued', reason: 'it waits for 2 more workers' });
    const waiting = { view: new RunProgress(run).view(0), curves: await WatchCurves.of(run) };
    const lines = text(renderWatch({ ...waiting, ranks: undefined, goodput: undefined }, 80, 24));
    expect(lines[0]).toContain('queued  it waits for 2 more workers');
    expect(lines).toHaveLength(2);
  });
});

describe('the curves of a run that is watched', () => {
  it('keep little of a long run, and its shape', async () => {
    const curves = await WatchCurves.of(exampleRun());
    const rows = Array.from({ length: 9000 }, (_, at) => exampleStep(at + 1, { loss: at < 4500 ? 2 : 1 }));
    for (let first = 0; first < rows.length; first += 100) curves.follow(rows.slice(0, first + 100));
    expect(curves.parts('loss', 10).map((value) => Math.round(10 * (value ?? 0)) / 10)).toEqual([
      ...[2, 2, 2, 2, 2, 1, 1, 1, 1, 1],
    ]);
    expect(curves.latest('gradNorm')).toBe(1.5);
  });

  it('forget steps that were rolled back', async () => {
    const curves = await WatchCurves.of(exampleRun());
    curves.follow([1, 2, 3, 4].map((step) => exampleStep(step, { loss: 9 })));
    curves.follow([1, 2].map((step) => exampleStep(step, { loss: 9 })));
    expect(curves.lastStep).toBe(2);
    curves.follow([1, 2, 3].map((step) => exampleStep(step, { loss: step === 3 ? 1 : 9 })));
    expect(curves.parts('loss', 3)).toEqual([9, 9, 1]);
  });
});
