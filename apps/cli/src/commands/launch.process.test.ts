import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TemporaryDirectory, temporaryDirectory, waitFor } from '@weft/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { lives, WeftProcess, writeTextData } from '../testing/weft-process.js';

let home: TemporaryDirectory;
let settings: string[];

beforeAll(async () => {
  home = await temporaryDirectory();
  settings = await writeTextData(home.path);
  const index = weft('data', 'index', 'debugNano', ...settings);
  expect(await index.ended, JSON.stringify(index.error)).toBe(0);
});
afterAll(() => home.remove());
afterEach(() => vi.unstubAllEnvs());

const weft = (...args: string[]) => new WeftProcess(home.path, ...args);
const launch = (steps: number, ...args: string[]) =>
  weft('launch', 'debugNano', '--local', '2', '--steps', `${steps}`, ...args, ...settings);
/** So many steps that no machine takes them before the test ends the run; the warm-up does not depend on their number. */
const launchEndless = (...args: string[]) => launch(1_000_000, '--set', 'optimizer.warmupSteps=1', ...args);
const isStep = (step: number) => (line: Readonly<Record<string, unknown>>) => line.step === step;

async function answer(...args: string[]) {
  const command = weft(...args);
  const exitCode = await command.ended;
  return { exitCode, answer: command.lines.at(-1), error: command.error };
}

describe('a run on this machine', () => {
  it('trains to its end, prints every step, and leaves no process behind', async () => {
    const run = launch(6);
    const { runId } = await run.line('launched');
    const { children } = run;
    expect(children).toHaveLength(3);
    expect(await run.ended).toBe(0);
    expect(run.lines.filter(({ type }) => type === 'step').map(({ step }) => step)).toEqual([1, 2, 3, 4, 5, 6]);
    const summary = run.lines.at(-1);
    expect(summary).toMatchObject({ type: 'summary', runId, status: 'finished', step: 6, checkpointStep: 6 });
    expect(existsSync(join(String(summary?.checkpoint), 'manifest.json'))).toBe(true);
    expect(children.filter(lives)).toEqual([]);
    expect(await answer('data', 'ledger', String(runId), '--check')).toMatchObject({ exitCode: 0 });
    expect(await answer('resume', String(runId))).toMatchObject({
      exitCode: 1,
      error: { code: 'failed_precondition' },
    });
  });

  it('is stopped with a checkpoint by the first Ctrl-C, and resumed to its end', async () => {
    const run = launchEndless();
    const { runId } = await run.line('launched');
    await run.line('step', isStep(3));
    run.signal('SIGINT');
    expect(await run.ended).toBe(130);
    const stopped = run.lines.at(-1);
    expect(stopped).toMatchObject({ type: 'summary', status: 'stopped' });
    const step = Number(stopped?.step);
    expect(stopped?.checkpointStep).toBe(step);
    const resumed = weft('resume', String(runId), '--steps', `${step + 3}`);
    expect(await resumed.ended, JSON.stringify(resumed.error)).toBe(0);
    expect(resumed.lines.find(({ type }) => type === 'step')?.step).toBe(step + 1);
    expect(resumed.lines.at(-1)).toMatchObject({ status: 'finished', step: step + 3 });
  });

  it('leaves at once at the second Ctrl-C', async () => {
    const run = launchEndless();
    await run.line('launched');
    const { children } = run;
    // So that the run cannot stop after its step.
    process.kill(children.at(-1) ?? 0, 'SIGSTOP');
    run.signal('SIGINT');
    await run.line('event', ({ message }) => String(message).startsWith('Stopping'));
    run.signal('SIGINT');
    expect(await run.ended).toBe(130);
    await waitFor('the children to be gone', () => !children.some(lives));
  });

  it('can be left before it has begun', async () => {
    // Workers that never come, so that there is no run.
    const asleep = join(home.path, 'asleep.cjs');
    const wait = 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)';
    await writeFile(asleep, `if (process.argv[2] === 'worker') ${wait};\n`);
    vi.stubEnv('NODE_OPTIONS', `--require=${asleep}`);
    const run = launchEndless();
    await run.line('event');
    const { children } = run;
    run.signal('SIGINT');
    expect(await run.ended).toBe(130);
    expect(run.lines.at(-1)).toEqual({ type: 'event', message: 'Left before there was a run.' });
    expect(children.filter(lives)).toEqual([]);
  });

  it('dies with its command, is then interrupted, and goes on with another number of workers', async () => {
    const run = launchEndless('--set', 'checkpoint.everySteps=5');
    const { runId } = await run.line('launched');
    await run.line('step', isStep(8));
    const { children } = run;
    run.signal('SIGKILL');
    await run.ended;
    await waitFor('the children to be gone', () => !children.some(lives), { timeoutMs: 15_000 });
    const { answer: status } = await answer('status', String(runId));
    expect(['interrupted', 'stopped']).toContain(status?.status);
    const steps = Number(status?.step) + 5;
    const resumed = weft('resume', 'last', '--steps', `${steps}`, '--workers', '1');
    expect(await resumed.ended, JSON.stringify(resumed.error)).toBe(0);
    expect(resumed.lines.find(({ type }) => type === 'resumed')).toMatchObject({ runId });
    expect(resumed.lines.at(-1)).toMatchObject({ status: 'finished', step: steps, workers: 1 });
    expect(await answer('data', 'ledger', String(runId), '--check')).toMatchObject({ exitCode: 0 });
  });

  it('ends with a sentence and a hint when its last process dies', async () => {
    const run = launchEndless();
    await run.line('step', isStep(2));
    const [coordinator, ...workers] = run.children;
    for (const worker of workers) process.kill(worker, 'SIGKILL');
    expect(await run.ended).toBe(1);
    expect(run.error).toMatchObject({
      message: expect.stringMatching(/^the run was interrupted at step \d+: worker \d was killed by SIGKILL/),
      hint: expect.stringMatching(/weft resume .* goes on from /),
    });
    expect(lives(coordinator ?? 0)).toBe(false);
  });

  it('goes on in the background when it is detached, and can be watched and stopped from elsewhere', async () => {
    const detached = await answer('launch', 'debugNano', '--local', '1', '--steps', '1000000', '--detach', ...settings);
    expect(detached).toMatchObject({ exitCode: 0, answer: { type: 'launched' } });
    const runId = String(detached.answer?.runId);
    const watching = weft('watch', runId);
    await watching.line('step');
    const second = await answer('launch', 'debugNano', '--local', '1', ...settings);
    expect(second).toMatchObject({ exitCode: 1, error: { code: 'already_exists' } });
    const after = (run: string) => answer('launch', 'debugNano', '--detach', '--after', run, ...settings);
    const next = await after('last');
    expect(next).toMatchObject({ exitCode: 0, answer: { type: 'launched' } });
    const nextId = String(next.answer?.runId);
    expect(await answer('status', nextId)).toMatchObject({
      answer: {
        status: 'queued',
        reason: expect.stringContaining(`it waits for run ${runId}, which has not finished`),
      },
    });
    expect(await after('nobody')).toMatchObject({ exitCode: 1, error: { code: 'not_found' } });
    expect(await answer('queue', 'cancel', nextId)).toMatchObject({ exitCode: 0 });
    expect(await answer('stop', runId)).toMatchObject({ exitCode: 0, answer: { status: 'stopped' } });
    expect(await watching.ended).toBe(130);
    await waitFor('the coordinator to be gone', () => !existsSync(join(home.path, 'coordinator.json')));
    expect(await answer('status', runId)).toMatchObject({
      answer: { status: 'stopped', checkpointStep: expect.any(Number) },
    });
  });

  it('is refused before anything starts when its data are missing', async () => {
    const { exitCode, error } = await answer('launch', 'debugNano', '--local', '1');
    expect(exitCode).toBe(1);
    expect(error).toMatchObject({ code: 'not_found', hint: expect.stringContaining('data fetch demo') });
  });
});
