import { readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readJsonFile, writeJsonFile } from './json-file.js';

let directory: TemporaryDirectory;
let path = '';
beforeEach(async () => {
  directory = await temporaryDirectory();
  path = join(directory.path, 'config.json');
});
afterEach(() => directory.remove());

it('writes JSON for people, replaces it whole, and leaves no other file behind', async () => {
  await writeJsonFile(path, { steps: 60 });
  await writeJsonFile(path, { steps: 61 });
  expect(await readFile(path, 'utf8')).toBe('{\n  "steps": 61\n}\n');
  expect(await readJsonFile(path)).toEqual({ steps: 61 });
  expect(await readdir(directory.path)).toEqual(['config.json']);
});

it('keeps the old file when the new one cannot be written', async () => {
  await writeJsonFile(path, 'old');
  const circle: unknown[] = [];
  circle.push(circle);
  await expect(writeJsonFile(path, circle)).rejects.toThrow();
  expect(await readJsonFile(path)).toBe('old');
  expect(await readdir(directory.path)).toEqual(['config.json']);
});

it('many writers at once leave one of their values', async () => {
  await Promise.all(Array.from({ length: 20 }, (_, i) => writeJsonFile(path, { i, text: 'x'.repeat(i * 1000) })));
  const value = await readJsonFile(path);
  expect(value).toMatchObject({ i: expect.any(Number) });
});

it('refuses a file that is far too large by its size', async () => {
  await writeFile(path, '{}');
  await truncate(path, 200 * 1024 * 1024);
  await expect(readJsonFile(path)).rejects.toThrow(
    `${path} has 209715200 bytes, and no such file has more than 67108864`,
  );
});

it('names the file it cannot read', async () => {
  await expect(readJsonFile(path)).rejects.toMatchObject({ code: 'not_found', message: `there is no file ${path}` });
  await writeFile(path, '{"steps": 6');
  await expect(readJsonFile(path)).rejects.toMatchObject({
    code: 'corrupt_data',
    message: expect.stringContaining(`the file ${path} is not whole JSON`),
  });
});
