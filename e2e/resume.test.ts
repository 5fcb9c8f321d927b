import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENDLESS, Home, lossDifference, type Metrics, stepsUpTo, withSettings } from './weft.js';

const settings = { ...ENDLESS, 'optimizer.learningRate': 1e-3, 'checkpoint.everySteps': 5 };

let home: Home;
/** The run on two workers that was resumed on two. */
let same: string;
/** The one that was resumed on three. */
let wider: string;
/** As far as the longer of both goes. */
let uninterrupted: readonly Metrics[];
beforeAll(async () => {
  home = await Home.make();
  same = await killAndResume();
  wider = await killAndResume('--workers', '3');
  const steps = Math.max(home.lastStep(same), home.lastStep(wider));
  // As endless as the others: the sizes of batches of images depend on the number of steps, and with them the last bits.
  const run = home.start('launch', 'debugTiny', '--local', '2', ...withSettings(settings));
  const id = await run.runId();
  await home.untilStep(id, steps);
  await run.interrupt();
  uninterrupted = home.metrics(id);
});
afterAll(() => home.remove());

/** Launches a run, kills every process with -9 after a checkpoint, resumes it, and stops it some steps later. */
async function killAndResume(...resumeArgs: string[]): Promise<string> {
  const run = home.start('launch', 'debugTiny', '--local', '2', ...withSettings(settings));
  const id = await run.runId();
  await home.untilCheckpoint(id, 10);
  await home.untilStep(id, 13);
  await run.killAll();
  const further = home.lastStep(id) + 7;
  const resumed = home.start('resume', id, ...resumeArgs);
  await home.untilStep(id, further);
  await resumed.interrupt();
  return id;
}

describe('a run whose every process was killed with -9 in the middle', () => {
  it('resumes to the losses of the uninterrupted run, bit for bit, and consumes every sequence once', async () => {
    const metrics = home.metrics(same);
    const { length } = metrics;
    expect(metrics.map(({ step }) => step)).toEqual(stepsUpTo(length));
    expect(length).toBeGreaterThanOrEqual(20);
    expect(metrics.map(({ loss }) => loss)).toEqual(uninterrupted.slice(0, length).map(({ loss }) => loss));
    const check = await home.weft('data', 'ledger', same, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
    const name = `step-${String(length).padStart(8, '0')}`;
    const manifest = readFileSync(join(home.runDirectory(same), 'checkpoints', name, 'manifest.json'), 'utf8');
    expect(JSON.parse(manifest)).toMatchObject({ step: length, runId: same });
  });

  it('resumes with another number of workers to the same losses within 1e-4, from the same sequences', async () => {
    const metrics = home.metrics(wider);
    const expected = uninterrupted.slice(0, metrics.length);
    expect(metrics.length).toBeGreaterThanOrEqual(20);
    expect(lossDifference(metrics, expected)).toBeLessThan(1e-4);
    expect(metrics.map(({ sequences }) => sequences)).toEqual(expected.map(({ sequences }) => sequences));
    const check = await home.weft('data', 'ledger', wider, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });
});
