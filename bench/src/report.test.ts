import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseStepArguments } from './arguments.js';
import { emptyReport, readResults, resultsOf, writeReport } from './report.js';
import type { CaseResult } from './summary.js';

const result: CaseResult = {
  case: { model: 'decoder-5m', precision: 'fp32', threads: 1, processes: 1 },
  gemmFlopsPerSecond: 1e11,
  torchGemmFlopsPerSecond: undefined,
  gemmBusyCores: 1,
  backgroundCores: undefined,
  rows: [],
  agreement: [],
  failures: [],
};
const report = (...words: string[]) => emptyReport(parseStepArguments(words));

describe('a run that goes on', () => {
  let directory: string;
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'weft-report-'));
  });
  afterAll(() => rm(directory, { recursive: true }));

  test('keeps what was measured in the same way, whatever else is asked for', async () => {
    const path = join(directory, 'below', 'latest.json');
    await writeReport(path, { ...report('--peers'), results: [result] });
    expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ results: [{ case: result.case }] });
    expect(await readResults(path, report('--peers', '--models', 'decoder-5m'))).toEqual([
      JSON.parse(JSON.stringify(result)),
    ]);
  });

  test('begins where there is no file', async () => {
    expect(await readResults(join(directory, 'none.json'), report())).toEqual([]);
  });

  test('refuses a file that is none', async () => {
    const path = join(directory, 'torn.json');
    await writeFile(path, '{"results": [');
    await expect(readResults(path, report())).rejects.toThrow('torn.json is not JSON');
  });

  test('refuses results that would not compare', () => {
    const found = { ...report('--peers'), results: [result] };
    expect(() => resultsOf(found, report('--peers', '--quick'), 'x.json')).toThrow(
      'x.json was measured with another rounds and steps and warmup',
    );
    expect(() => resultsOf(found, report(), 'x.json')).toThrow('another peers');
    const elsewhere = { ...found, machine: { ...found.machine, cores: 96 } };
    expect(() => resultsOf(elsewhere, report('--peers'), 'x.json')).toThrow('another machine');
  });
});
