import { appendFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { MetricsRow } from '@weft/contracts';
import { temporaryDirectory } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { readCurve, readCurves, readRows } from './curves.js';
import { MetricsColumns } from './metrics-columns.js';
import { thinned } from './thinned-curve.js';

const row = (step: number, changes: Partial<MetricsRow> = {}): string =>
  `${JSON.stringify({
    step,
    loss: 5 - step / 100,
    learningRate: 1e-3,
    gradNorm: 1,
    tokensPerSecond: 1000,
    sequences: { text: 4, captioned: step },
    seconds: { data: 0.1, compute: 1, communication: 0.2, apply: 0.1 },
    generation: 1,
    time: new Date(Date.UTC(2026, 0, 1) + step * 1000).toISOString(),
    ...changes,
  } satisfies MetricsRow)}\n`;

const rows = (first: number, last: number) =>
  Array.from({ length: last - first + 1 }, (_, at) => row(first + at)).join('');

async function runOf(text: string) {
  const folder = await temporaryDirectory();
  await writeFile(join(folder.path, 'metrics.jsonl'), text);
  return {
    directory: folder.path,
    path: join(folder.path, 'metrics.jsonl'),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

describe('curves of a run', () => {
  it('have every value of a short run, and the names of all that it measured', async () => {
    await using run = await runOf(
      row(1) + row(2, { loss: null }) + row(3, { heldOut: { loss: 4, sources: { text: 3 }, seconds: 1 } }),
    );
    const { curves, lastStep, names } = await readCurves(run, ['loss', 'heldOut.text', 'sequences.captioned', 'none']);
    expect(lastStep).toBe(3);
    expect(names).toContain('seconds.apply');
    expect(curves).toEqual({
      loss: { steps: [1, 3], values: [4.99, 4.97] },
      'heldOut.text': { steps: [3], values: [3] },
      'sequences.captioned': { steps: [1, 2, 3], values: [1, 2, 3] },
      none: { steps: [], values: [] },
    });
    expect(await readCurve(run, 'loss', { from: 2, to: 3 })).toEqual({ steps: [3], values: [4.97] });
  });

  it('of a run without rows are empty', async () => {
    await using run = await runOf('');
    expect(await readCurve(run, 'loss')).toEqual({ steps: [], values: [] });
    expect(await readRows(run)).toEqual([]);
    await rm(run.path);
    expect(await readCurve(run, 'loss')).toEqual({ steps: [], values: [] });
  });

  it('refuse a range that is none', async () => {
    await using run = await runOf(row(1));
    await expect(readCurve(run, 'loss', { points: 1 })).rejects.toThrow(/points 1 is no range/);
    await expect(readCurve(run, 'loss', { from: 1.5 })).rejects.toThrow(/from 1.5/);
  });

  it('keep a spike of one step, the first and the last value', () => {
    const values = Float64Array.from({ length: 100_000 }, (_, at) => Math.sin(at / 1000));
    values[77_777] = 25;
    values[11_111] = -25;
    values[5] = Number.NaN;
    const curve = thinned(values, 1, 200);
    expect(curve.steps.length).toBeLessThanOrEqual(200);
    expect(curve.values[curve.steps.indexOf(77_778)]).toBe(25);
    expect(curve.values[curve.steps.indexOf(11_112)]).toBe(-25);
    expect([curve.steps[0], curve.steps.at(-1)]).toEqual([1, 100_000]);
    expect(curve.steps).toEqual(curve.steps.toSorted((a, b) => a - b));
  });

  it('give rows at even distances, up to the last one', async () => {
    await using run = await runOf(rows(1, 100));
    expect((await readRows(run, { points: 5 })).map(({ step }) => step)).toEqual([20, 40, 60, 80, 100]);
    expect((await readRows(run, { from: 98 })).map(({ step }) => step)).toEqual([98, 99, 100]);
  });
});

describe('the columns of a run', () => {
  it('give what metrics.jsonl gives, saved or not, and go on where it goes on', async () => {
    await using run = await runOf(rows(1, 30));
    const before = await readCurves(run, ['loss', 'sequences.captioned']);
    const columns = await MetricsColumns.open(run.directory);
    await columns.save();
    expect(await readCurves(run, ['loss', 'sequences.captioned'])).toEqual(before);
    expect((await MetricsColumns.open(run.directory)).freshSteps).toBe(0);
    await appendFile(run.path, rows(31, 40) + row(41).slice(0, 20));
    const later = await MetricsColumns.open(run.directory);
    expect([later.lastStep, later.freshSteps]).toEqual([40, 10]);
    await later.save();
    expect((await readCurve(run, 'loss', { from: 29, to: 32 })).values).toEqual([4.71, 4.7, 4.69, 4.68]);
    expect((await readRows(run, { from: 31, to: 31 })).map(({ step }) => step)).toEqual([31]);
    await appendFile(run.path, row(41).slice(20));
    expect((await readCurve(run, 'loss')).steps.at(-1)).toBe(41);
  });

  it('are ignored when metrics.jsonl was replaced, and follow a roll-back', async () => {
    await using run = await runOf(rows(1, 30));
    await (await MetricsColumns.open(run.directory)).save();
    await writeFile(run.path, rows(1, 20) + row(21, { loss: 9 }) + rows(22, 25));
    expect(await readCurve(run, 'loss', { from: 20 })).toEqual({
      steps: [20, 21, 22, 23, 24, 25],
      values: [4.8, 9, 4.78, 4.77, 4.76, 4.75],
    });
    const columns = await MetricsColumns.open(run.directory);
    expect(columns.freshSteps).toBe(25);
    await columns.save();
    await appendFile(run.path, row(24, { loss: 7 }));
    await columns.update();
    await columns.save();
    expect(await readCurve(run, 'loss', { from: 23 })).toEqual({ steps: [23, 24], values: [4.77, 7] });
  });

  it('are made again when the folder is damaged', async () => {
    await using run = await runOf(rows(1, 10));
    await mkdir(join(run.directory, 'curves'));
    await writeFile(join(run.directory, 'curves', 'index.json'), '{"version":');
    expect((await readCurve(run, 'loss')).steps).toHaveLength(10);
    await (await MetricsColumns.open(run.directory)).save();
    expect(JSON.parse(await readFile(join(run.directory, 'curves', 'index.json'), 'utf8'))).toMatchObject({
      lastStep: 10,
    });
    expect(await readdir(join(run.directory, 'curves'))).toContain('0.f64');
  });
});
