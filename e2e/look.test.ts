import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { Home, type Output, withSettings } from './weft.js';

/** Far more than it trains before it is stopped. */
const STEPS = 100_000;

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly ts: number;
  readonly dur?: number;
  readonly args?: { readonly name?: string };
}

it('a run is looked at while it trains: its logs, a profile of all its processes, its curves for other tools', async () => {
  const home = await Home.make();
  const run = home.start(
    ...['launch', 'debugNano', '--local', '2'],
    ...withSettings({ 'engine.backend': 'javascript', steps: STEPS }),
  );
  try {
    const runId = await run.runId();
    await home.untilStep(runId, 2);

    const trace = join(home.path, 'trace.json');
    const profiled = await home.weft('profile', runId, '--steps', '3', '--output', trace, '--json');
    expect(profiled.code, profiled.stderr).toBe(0);
    const { firstStep, lastStep, clockErrorMs } = JSON.parse(profiled.stdout);
    expect(lastStep).toBe(firstStep + 2);
    expectWholeTrace(JSON.parse(readFileSync(trace, 'utf8')), firstStep, clockErrorMs);
    const again = await home.weft('profile', runId, '--output', trace);
    expect([again.code, again.stderr]).toEqual([1, expect.stringContaining('trace.json exists')]);

    const logs = jsonLines(await home.weft('logs', runId, '--json'));
    expect(new Set(logs.map(({ process }) => process))).toEqual(new Set(['coordinator', 'worker-0', 'worker-1']));
    const ofOne = jsonLines(await home.weft('logs', runId, '--rank', '1', '--json'));
    expect(ofOne.some(({ message }) => /trains run .* as rank 1 of 2/.test(`${message}`))).toBe(true);
    expect(new Set(ofOne.map(({ rank }) => rank))).toEqual(new Set([1]));
    const following = home.start('logs', runId, '--follow');
    await until(() => following.stdout.includes('as rank 0 of 2'));

    for (const format of ['csv', 'tensorboard', 'wandb']) {
      const output = join(home.path, format);
      const exported = await home.weft('export', runId, '--format', format, '--output', output, '--json');
      expect(exported.code, exported.stderr).toBe(0);
      expect(JSON.parse(exported.stdout).lastStep).toBeGreaterThanOrEqual(lastStep);
      expect(existsSync(output)).toBe(true);
    }
    const rows = readFileSync(join(home.path, 'csv'), 'utf8').trimEnd().split('\n');
    expect(rows[0]).toMatch(/^step,time,loss,/);
    const losses = home.metrics(runId).map(({ loss }) => `${loss}`);
    expect(rows.slice(1).map((row) => row.split(',')[2])).toEqual(losses.slice(0, rows.length - 1));
    expect(readdirSync(join(home.path, 'tensorboard'))).toEqual([expect.stringMatching(/^events\.out\.tfevents\./)]);

    // It ends by itself when the run does, with the lines of its end.
    await home.weft('stop', runId, '--no-checkpoint');
    const followed = await following.ended;
    expect([followed.code, followed.stdout]).toEqual([0, expect.stringMatching(/is stopped|was stopped|stopped/)]);
  } finally {
    await run.killAll().catch(() => {});
    await home.remove();
  }
});

function expectWholeTrace(
  { traceEvents }: { readonly traceEvents: readonly TraceEvent[] },
  firstStep: number,
  clockErrorMs: number,
): void {
  const processes = traceEvents.filter(({ name }) => name === 'process_name').map(({ args }) => args?.name ?? '');
  expect(processes.map((name) => name.split(' · ')[0])).toEqual(['coordinator', 'rank 0', 'rank 1']);
  const spansOf = (pid: number) => traceEvents.filter((event) => event.ph === 'X' && event.pid === pid);
  for (const pid of [1, 2]) {
    const names = spansOf(pid).map(({ name }) => name);
    for (const wanted of ['data', 'gradients', 'all-reduce', 'vote', 'apply', `step ${firstStep}`, 'bucket/0'])
      expect(names).toContain(wanted);
  }
  // A step is committed after both have voted, and both get the decision after that.
  const end = ({ ts, dur = 0 }: TraceEvent) => ts + dur;
  const committed = spansOf(0).find(({ name }) => name === `step ${firstStep} is voted`);
  if (committed === undefined) throw new Error('the coordinator recorded no vote');
  for (const pid of [1, 2]) {
    const vote = spansOf(pid).find((event) => event.name === 'vote');
    if (vote === undefined) throw new Error(`rank ${pid - 1} recorded no vote`);
    expect(vote.ts).toBeLessThanOrEqual(end(committed) + 2000 * clockErrorMs);
    expect(end(vote)).toBeGreaterThanOrEqual(end(committed) - 2000 * clockErrorMs);
  }
}

function jsonLines({ stdout }: Output): Readonly<Record<string, unknown>>[] {
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => setTimeout(resolve, 50));
}
