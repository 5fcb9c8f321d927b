import { appendFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { exampleStep, temporaryDirectory } from '@weft/testing';
import { expect, it } from 'vitest';
import { RunRows } from './run-rows.js';

const line = (step: number, loss = step) => `${JSON.stringify(exampleStep(step, { loss }))}\n`;

async function read(rows: RunRows) {
  const found: [step: number, loss: number | null][] = [];
  for await (const { step, loss } of rows) found.push([step, loss]);
  return found;
}

it('rows of a run leave out what was rolled back, however often', async () => {
  await using folder = await temporaryDirectory();
  const path = join(folder.path, 'metrics.jsonl');
  const first = [1, 2, 3, 4, 5].map((step) => line(step)).join('');
  await writeFile(path, `${first}${line(4, 40)}${line(5, 50)}${line(6, 60)}${line(3, 300)}torn`);
  const rows = await RunRows.open({ directory: folder.path });
  expect(rows.lastStep).toBe(3);
  expect(await read(rows)).toEqual([
    [1, 1],
    [2, 2],
    [3, 300],
  ]);
});

it('rows are those of the moment at which they were opened, and can be read twice', async () => {
  await using folder = await temporaryDirectory();
  const path = join(folder.path, 'metrics.jsonl');
  await writeFile(path, line(1) + line(2));
  const rows = await RunRows.open({ directory: folder.path });
  await appendFile(path, line(3));
  const once = await read(rows);
  expect(once).toEqual([
    [1, 1],
    [2, 2],
  ]);
  expect(await read(rows)).toEqual(once);
  expect(rows.names).toContain('sequences.captioned');
});

it('a run without a file has no rows', async () => {
  await using folder = await temporaryDirectory();
  const rows = await RunRows.open({ directory: folder.path });
  expect([rows.lastStep, rows.names, await read(rows)]).toEqual([0, [], []]);
});
