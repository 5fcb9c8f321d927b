import { appendFile, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { MetricsRow } from '@weft/contracts';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { MetricsFile } from './metrics-file.js';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weft-metrics-'));
});
afterEach(() => rm(directory, { recursive: true }));

const row = (step: number) => ({ step }) as MetricsRow;
const stepsOf = async (file: MetricsFile) => (await file.read()).map(({ step }) => step);

it('a row is there once it is appended, and those of before a replacement are gone', async () => {
  const file = new MetricsFile(join(directory, 'metrics.jsonl'));
  expect(await stepsOf(file)).toEqual([]);
  for (const step of [1, 2, 3]) await file.append(row(step));
  expect(await stepsOf(file)).toEqual([1, 2, 3]);
  await file.replace([row(1)]);
  await file.append(row(2));
  await file.close();
  await file.append(row(3));
  expect(await stepsOf(file)).toEqual([1, 2, 3]);
  await file.close();
});

it('what a replaced coordinator still writes does not come in', async () => {
  const [stopped, successor] = [
    new MetricsFile(join(directory, 'metrics.jsonl')),
    new MetricsFile(join(directory, 'metrics.jsonl')),
  ];
  await stopped.append(row(1));
  await stopped.append(row(2));
  await successor.replace([row(1)]);
  await stopped.append(row(3));
  await successor.append(row(2));
  expect(await stepsOf(successor)).toEqual([1, 2]);
  await Promise.all([stopped.close(), successor.close()]);
});

it('a row that a crash tore is left out', async () => {
  const file = new MetricsFile(join(directory, 'metrics.jsonl'));
  await file.append(row(1));
  await appendFile(file.path, '{"step":2,"lo');
  expect(await stepsOf(file)).toEqual([1]);
  await file.close();
});

it('a directory that is not there yet costs no more than the rows until it is', async () => {
  const file = new MetricsFile(join(directory, 'later', 'metrics.jsonl'));
  await expect(file.append(row(1))).rejects.toThrow('ENOENT');
  await mkdir(join(directory, 'later'));
  await file.append(row(2));
  expect(await stepsOf(file)).toEqual([2]);
  await file.close();
});
