import { installPlugin } from '@weft/backend-pjrt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ENDLESS, Home, type LogRecord, lossDifference, type Metrics, stepsUpTo, withSettings } from './weft.js';

/** The smallest recipe, on texts alone and with experts in its second layer; a rank has two microbatches a step. */
const settings = {
  ...ENDLESS,
  'engine.backend': 'pjrt',
  'data.weights': '0:0:1',
  microbatchSize: 1,
  'checkpoint.everySteps': 8,
  'checkpoint.keepLast': 9,
  'optimizer.learningRate': 3e-4,
  'model.decoder.moe.experts': 8,
  'model.decoder.moe.everyLayers': 2,
  'model.decoder.moe.capacityFactor': 2,
  'model.decoder.moe.groupSize': 64,
};
const launch = (home: Home, changes: Readonly<Record<string, number | boolean>> = {}) =>
  home.start(
    ...['launch', 'debugNano', '--local', '2', '--expert-workers', '2'],
    ...withSettings({ ...settings, ...changes }),
  );

let home: Home;
/** Runs that were compared so far, and what they must be: trained once, as far as the longest of them goes. */
const runs: string[] = [];
beforeAll(async () => {
  process.env.WEFT_PJRT_PLUGIN = (await installPlugin({ platform: 'cpu' })).path;
  process.env.JAX_NUM_CPU_DEVICES = '1';
  home = await Home.make();
});
afterAll(() => home.remove());

/** The metrics of a run that has decided every step once. */
function wholeMetrics(id: string): readonly Metrics[] {
  const metrics = home.metrics(id);
  expect(metrics.map(({ step }) => step)).toEqual(stepsUpTo(metrics.length));
  runs.push(id);
  return metrics;
}

const find = (id: string, kind: string): LogRecord | undefined =>
  home.records(id).find((record) => record.kind === kind);

describe('a run whose experts live in processes of their own', () => {
  it('goes on with three expert workers, then with none', async () => {
    const run = launch(home, { steps: 8 });
    const id = await run.runId();
    const said = await run.ended;
    expect(said.code, said.stderr).toBe(0);
    const more = await home.weft('resume', id, '--steps', '12', '--expert-workers', '3');
    expect(more.code, more.stderr).toBe(0);
    const last = await home.weft('resume', id, '--steps', '16', '--expert-workers', '0');
    expect(last.code, last.stderr).toBe(0);
    expect(wholeMetrics(id)).toHaveLength(16);
  });
});

describe('an expert worker killed with -9 in the middle of a run', () => {
  it('leaves its experts to their copy, and no step is rolled back', async () => {
    const run = launch(home, { 'checkpoint.everySteps': 1_000_000 });
    const id = await run.runId();
    await home.untilStep(id, 4);
    const [victim = 0] = run.children('expert-worker');
    process.kill(victim, 'SIGKILL');
    await home.untilTrainedIn(id, 2, 6);
    await run.interrupt();
    wholeMetrics(id);
    expect(find(id, 'workerLost')).toMatchObject({ role: 'expertWorker' });
    expect(find(id, 'requeued') ?? find(id, 'resumed')).toBeUndefined();
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });

  it('takes the run back to its newest checkpoint where there are no copies', async () => {
    const run = launch(home, { expertCopies: false });
    const id = await run.runId();
    await home.untilCheckpoint(id, 8);
    const [victim = 0] = run.children('expert-worker');
    process.kill(victim, 'SIGKILL');
    await home.untilTrainedIn(id, 2, 6);
    await run.interrupt();
    wholeMetrics(id);
    expect(find(id, 'requeued')?.reason).toMatch(/it lost experts \(expert worker \d .* was lost/);
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });
});

describe('an expert worker that stands still before the first checkpoint', () => {
  it('is given up, which the log says, and the run begins again from its seed with the others', async () => {
    const run = launch(home, { 'checkpoint.everySteps': 1_000_000, expertCopies: false });
    const id = await run.runId();
    await home.untilStep(id, 3);
    const [victim = 0] = run.children('expert-worker');
    process.kill(victim, 'SIGSTOP');
    try {
      await home.untilRecord(id, ({ kind }) => kind === 'resumed', 'a new beginning');
    } finally {
      // It comes back as a stranger, whom nobody waits for.
      process.kill(victim, 'SIGCONT');
    }
    await home.untilTrainedIn(id, 2, 6);
    await run.interrupt();
    wholeMetrics(id);
    expect(find(id, 'requeued')?.reason).toMatch(/it lost experts \(expert worker \d .* it sent no heartbeat for 10 s/);
    expect(find(id, 'resumed')?.reason).toBe('it starts again from step 0, for want of a checkpoint');
  });
});

describe('all of these runs', () => {
  it('train to the losses of a run with local experts', async () => {
    const steps = Math.max(...runs.map((id) => home.lastStep(id)));
    const local = home.metrics(await home.train('debugNano', 2, { ...settings, steps }));
    expect(runs).toHaveLength(4);
    for (const id of runs) {
      const metrics = home.metrics(id);
      expect(lossDifference(metrics, local.slice(0, metrics.length))).toBeLessThan(1e-5);
    }
  });
});
