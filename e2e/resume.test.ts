import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, lossDifference, type Metrics, withSettings } from './weft.js';

const STEPS = 60;
const KILLED_AT = 23;

let home: Home;
let uninterrupted: readonly Metrics[];
beforeAll(async () => {
  home = await Home.make();
  uninterrupted = home.metrics(await home.train('debugTiny', 2, { steps: STEPS }));
});
afterAll(() => home.remove());

/** Launches the run again, kills every process with -9 at step 23, resumes it and waits for its end. */
async function killAndResume(...resumeArgs: string[]): Promise<string> {
  const run = home.start('launch', 'debugTiny', '--local', '2', ...withSettings({ steps: STEPS }));
  const id = await run.runId();
  await home.untilStep(id, KILLED_AT);
  await run.killAll();
  const resumed = await home.start('resume', id, ...resumeArgs).ended;
  expect(resumed.code, resumed.stderr).toBe(0);
  return id;
}

describe('a run whose every process was killed with -9 at step 23', () => {
  it('resumes to the losses of the uninterrupted run, bit for bit, and consumes every sequence once', async () => {
    const id = await killAndResume();
    const metrics = home.metrics(id);
    expect(metrics.map(({ step }) => step)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
    expect(metrics.map(({ loss }) => loss)).toEqual(uninterrupted.map(({ loss }) => loss));
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
    const manifest = readFileSync(join(home.runDirectory(id), 'checkpoints/step-00000060/manifest.json'), 'utf8');
    expect(JSON.parse(manifest)).toMatchObject({ step: STEPS, runId: id });
  });

  it('resumes with another number of workers to the same losses within 1e-4, from the same sequences', async () => {
    const id = await killAndResume('--workers', '3');
    const metrics = home.metrics(id);
    expect(lossDifference(metrics, uninterrupted)).toBeLessThan(1e-4);
    expect(metrics.map(({ sequences }) => sequences)).toEqual(uninterrupted.map(({ sequences }) => sequences));
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });
});
