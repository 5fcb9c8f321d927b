import { type ProfiledProcess, type ProfilePlan, Role } from '@weft/proto';
import { type TemporaryDirectory, temporaryDirectory, waitFor } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { clockOffset } from './profiles.js';
import { launchRequest, type OpenedCoordinator, openCoordinator } from './testing/open-coordinator.js';
import { ScriptedWorker, type ScriptOptions } from './testing/scripted-worker.js';

let directory: TemporaryDirectory;
let opened: OpenedCoordinator;
/** However busy the machine is. */
const PATIENCE = { timeoutMs: 60_000 };
/** How far the workers may train; those that wait go on when it grows. */
let mayGoTo = 1;
const waiting: (() => void)[] = [];
function goTo(step: number): void {
  mayGoTo = step;
  for (const go of waiting.splice(0)) go();
}
beforeEach(async () => {
  directory = await temporaryDirectory();
  opened = await openCoordinator(directory.path);
  goTo(1);
});
afterEach(async () => {
  await opened.close();
  await directory.remove();
});

/** A run of two workers that go on when they are let. */
async function training(options: Partial<ScriptOptions> = {}) {
  const { coordinator } = opened;
  const beforeStep = async (step: number) => {
    while (step > mayGoTo) await new Promise<void>((go) => waiting.push(go));
  };
  const { runId } = await coordinator.runs.launch(launchRequest({ steps: 50 }));
  const workers = ['a', 'b'].map(
    (workerId) => new ScriptedWorker(coordinator, { workerId, beforeStep, ...(workerId === 'b' ? options : {}) }),
  );
  await waitFor('the first step', () => coordinator.runs.get(runId).step === 1, PATIENCE);
  return { coordinator, runId, workers };
}

/** Reads a profile to its end. @param onPlan called when the steps are known */
async function recorded(runId: string, steps: number, onPlan: (plan: ProfilePlan) => void) {
  const processes: ProfiledProcess[] = [];
  for await (const { body } of opened.coordinator.profiles.record({ runId, steps }, new AbortController().signal)) {
    if (body?.$case === 'plan') onPlan(body.plan);
    if (body?.$case === 'process') processes.push(body.process);
  }
  return processes;
}

describe('a profile', { timeout: 60_000 }, () => {
  it('has the steps that were asked for, of every rank, by the clock of the coordinator', async () => {
    const aheadMs = 5_000_000;
    const { runId } = await training({ clockAheadMs: aheadMs });
    const processes = await recorded(runId, 3, ({ firstStep, lastStep, processes: count }) => {
      expect([firstStep, lastStep, count]).toEqual([3, 5, 3]);
      goTo(8);
    });
    expect(processes.map(({ role, rank }) => [role, rank]).sort()).toEqual([
      [Role.ROLE_UNSPECIFIED, 0],
      [Role.ROLE_RANK, 0],
      [Role.ROLE_RANK, 1],
    ]);
    const ranks = processes.filter(({ role }) => role === Role.ROLE_RANK).sort((a, b) => a.rank - b.rank);
    for (const { spans } of ranks) expect(spans.map(({ name }) => name)).toEqual(['step 3', 'step 4', 'step 5']);
    const [first, second] = ranks;
    expect(Math.abs((second?.clockOffsetMs ?? 0) + aheadMs)).toBeLessThanOrEqual((second?.clockErrorMs ?? 0) + 1);
    // Both wait for the decision about a step when it is made, so their spans of it overlap.
    const errorMs = (first?.clockErrorMs ?? 0) + (second?.clockErrorMs ?? 0) + 1;
    const [one, other] = [first?.spans[1], second?.spans[1]];
    if (one === undefined || other === undefined) throw new Error('no spans');
    expect(one.beginMs).toBeLessThan(other.beginMs + other.durationMs + errorMs);
    expect(other.beginMs).toBeLessThan(one.beginMs + one.durationMs + errorMs);
    const coordinator = processes.find(({ role }) => role === Role.ROLE_UNSPECIFIED);
    expect(coordinator?.spans.map(({ name }) => name)).toContain('step 4 is voted');
  });

  it('ends without a worker that is lost meanwhile', async () => {
    const { runId, workers } = await training();
    const processes = await recorded(runId, 2, () => {
      for (const worker of workers) worker.kill();
    });
    expect(processes.filter(({ lost }) => lost !== '').map(({ lost }) => lost)).toEqual(['it was lost', 'it was lost']);
  });

  it('is refused where there is nothing to record', async () => {
    const { runId, coordinator } = await training();
    const refusal = (id: string, steps: number) =>
      recorded(id, steps, () => {}).catch((thrown: Error) => thrown.message);
    expect(await refusal('nobody', 3)).toMatch(/there is no run "nobody"/);
    expect(await refusal(runId, 0)).toMatch(/from 1 to 100 steps, not 0/);
    const leaving = new AbortController();
    const first = coordinator.profiles.record({ runId, steps: 2 }, leaving.signal);
    await first.next();
    expect(await refusal(runId, 2)).toMatch(/is profiled already/);
    leaving.abort();
    while (!(await first.next()).done);
    goTo(50);
    await waitFor('the end', () => coordinator.runs.get(runId).step === 50, PATIENCE);
    expect(await refusal(runId, 2)).toMatch(/does not train now|ends before/);
  });
});

describe('clocks', () => {
  it('are aligned by the shortest round trip, to half of it', () => {
    // The worker is 1,000 ms ahead. Ways there and back differ, as when its loop is busy.
    const sample = (askedMs: number, there: number, back: number) => ({
      askedMs,
      workerMs: askedMs + there + 1000,
      answeredMs: askedMs + there + back,
    });
    const { offsetMs, errorMs } = clockOffset([sample(0, 80, 1), sample(100, 3, 1), sample(200, 1, 40)]);
    expect(errorMs).toBe(2);
    expect(Math.abs(offsetMs + 1000)).toBeLessThanOrEqual(errorMs);
    expect(clockOffset([])).toEqual({ offsetMs: 0, errorMs: -1 });
  });
});

it('the ranks of a run tell what their last steps were spent on, and who waits for whom', {
  timeout: 60_000,
}, async () => {
  const { coordinator, runId } = await training();
  goTo(4);
  await waitFor('step 4', () => coordinator.runs.get(runId).step === 4, PATIENCE);
  const { ranks } = coordinator.ranksOf(runId);
  expect(ranks.map(({ rank, workerId, role }) => [rank, workerId, role])).toEqual([
    [0, 'a', 'rank'],
    [1, 'b', 'rank'],
  ]);
  const step = (rank: number, at: number) => ranks[rank]?.steps.at(at);
  // The second rank computes less, and waits a second in the all-reduce.
  expect(step(0, -1)).toEqual({ step: 4, data: 0.1, compute: 2, communication: 0.25, waiting: 0, apply: null });
  expect(step(1, -1)).toEqual({ step: 4, data: 0.1, compute: 1, communication: 0.25, waiting: 1, apply: null });
  expect(step(1, -2)).toMatchObject({ step: 3, apply: 0.05 });
  expect(coordinator.ranksOf('nobody')).toEqual({ ranks: [] });
});
