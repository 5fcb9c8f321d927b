import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Home, lossDifference, type Metrics, withSettings } from './weft.js';

const STEPS = 24;
const settings = {
  steps: STEPS,
  'checkpoint.everySteps': 8,
  'checkpoint.keepLast': 9,
  'optimizer.learningRate': 3e-4,
  'model.decoder.feedForwardWidth': 64,
};
const launch = (home: Home, ...args: string[]) =>
  home.start('launch', 'moeTiny', '--local', '2', ...args, ...withSettings(settings));

let home: Home;
let local: readonly Metrics[];
beforeAll(async () => {
  home = await Home.make();
  local = home.metrics(await home.train('moeTiny', 2, settings));
});
afterAll(() => home.remove());

const kinds = (id: string) =>
  readFileSync(join(home.runDirectory(id), 'events.jsonl'), 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string; reason?: string; record?: { kind: string; reason?: string } })
    .map((line) => line.record ?? line);

describe('a run whose experts live in processes of their own', () => {
  let id: string;
  beforeAll(async () => {
    const run = launch(home, '--expert-workers', '2');
    id = await run.runId();
    const said = await run.ended;
    expect(said.code, said.stderr).toBe(0);
  });

  it('trains to the losses of a run with local experts', () => {
    expect(local).toHaveLength(STEPS);
    expect(lossDifference(home.metrics(id), local)).toBeLessThan(1e-5);
  });

  it('goes on with three expert workers, then with none', async () => {
    const more = await home.weft('resume', id, '--steps', '28', '--expert-workers', '3');
    expect(more.code, more.stderr).toBe(0);
    const last = await home.weft('resume', id, '--steps', '32', '--expert-workers', '0');
    expect(last.code, last.stderr).toBe(0);
    expect(home.metrics(id).map(({ step }) => step)).toEqual(Array.from({ length: 32 }, (_, index) => index + 1));
  });
});

describe('an expert worker killed with -9 in the middle of a run', () => {
  it('takes the run back to its newest checkpoint, on the expert workers that are left', async () => {
    const run = launch(home, '--expert-workers', '2');
    const id = await run.runId();
    await home.untilStep(id, 10);
    const [victim = 0] = run.children('expert-worker');
    process.kill(victim, 'SIGKILL');
    const said = await run.ended;
    expect(said.code, said.stderr).toBe(0);
    expect(lossDifference(home.metrics(id), local)).toBeLessThan(1e-5);
    const requeued = kinds(id).find(({ kind }) => kind === 'requeued');
    expect(requeued?.reason).toMatch(/it lost experts \(expert worker \d .* was lost/);
    const check = await home.weft('data', 'ledger', id, '--check');
    expect(check.code, check.stdout + check.stderr).toBe(0);
  });
});

describe('an expert worker that stands still before the first checkpoint', () => {
  it('is given up, which the log says, and the run begins again from its seed with the others', async () => {
    const run = launch(home, '--expert-workers', '2');
    const id = await run.runId();
    await home.untilStep(id, 3);
    const [victim = 0] = run.children('expert-worker');
    process.kill(victim, 'SIGSTOP');
    try {
      while (!kinds(id).some(({ kind }) => kind === 'resumed')) await sleep(100);
    } finally {
      // It comes back as a stranger, whom nobody waits for.
      process.kill(victim, 'SIGCONT');
    }
    const said = await run.ended;
    expect(said.code, said.stderr).toBe(0);
    expect(lossDifference(home.metrics(id), local)).toBeLessThan(1e-5);
    const reason = (of: string) => kinds(id).find(({ kind }) => kind === of)?.reason;
    expect(reason('requeued')).toMatch(/it lost experts \(expert worker \d .* it sent no heartbeat for 10 s/);
    expect(reason('resumed')).toBe('it starts again from step 0, for want of a checkpoint');
  });
});
