import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunConfigInput, resolveRunConfig } from '@weft/config';
import type { MetricsRow } from '@weft/contracts';
import { createRunJob, sweepJobId } from '@weft/coordination';
import { RunStatus, type RunSummary, SweepState } from '@weft/proto';
import type { StoreOptions } from '@weft/store';
import { createLogger } from '@weft/telemetry';
import { waitFor } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Coordinator } from '../coordinator.js';
import { acquireStore } from '../leased-store.js';
import { newRunJob } from '../queue-jobs.js';
import { launchRequest, type OpenedCoordinator, openCoordinator } from './open-coordinator.js';
import { ScriptedWorker } from './scripted-worker.js';

/** A home of a test and the store that goes with it. */
interface TestStore extends AsyncDisposable {
  readonly home: string;
  readonly store: Omit<StoreOptions, 'home'>;
}

const ENDED = [RunStatus.RUN_STATUS_FINISHED, RunStatus.RUN_STATUS_STOPPED, RunStatus.RUN_STATUS_FAILED];
const RUNNING = RunStatus.RUN_STATUS_RUNNING;
const QUEUED = RunStatus.RUN_STATUS_QUEUED;
const FINISHED = RunStatus.RUN_STATUS_FINISHED;

export function untilEnd(coordinator: Coordinator, runId: string): Promise<RunSummary> {
  return waitFor(
    `the end of ${runId}`,
    () => {
      const run = coordinator.runs.get(runId);
      return ENDED.includes(run.status) && run;
    },
    { timeoutMs: 15_000 },
  );
}

export async function lossesOf({ directory }: RunSummary): Promise<(number | null)[]> {
  const text = await readFile(join(directory, 'metrics.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as MetricsRow).loss);
}

/** The behaviour of a coordinator's queue for people and sweeps, the same for every store. */
export function queueSuite(name: string, makeStore: () => Promise<TestStore>): void {
  let site: TestStore;
  let opened: OpenedCoordinator;
  const open = async () => {
    opened = await openCoordinator(site.home, {}, site.store);
  };
  const reopen = async () => {
    await opened.close();
    await open();
  };
  beforeEach(async () => {
    site = await makeStore();
    await open();
  });
  afterEach(async () => {
    await opened.close();
    await site[Symbol.asyncDispose]();
  });

  const launch = (changes: RunConfigInput = {}) => opened.coordinator.runs.launch(launchRequest(changes));
  const worker = (workerId: string, beforeStep: (step: number, runId: string) => Promise<void> | void = () => {}) =>
    new ScriptedWorker(opened.coordinator, {
      workerId,
      beforeStep: (step, self) => beforeStep(step, self.assignments.at(-1)?.runId ?? ''),
    });
  const waitingIds = () =>
    opened.coordinator.queue.show({}).entries.flatMap(({ id, position: at }) => (at > 0 ? id : []));
  const phaseOf = (runId: string) => opened.coordinator.runs.get(runId).status;

  describe(`a queue in ${name}`, () => {
    it('is after a restart as it was before: order, priorities, pauses; the run at work goes on', async () => {
      const hold = new Promise<void>(() => {});
      worker('a', (step) => (step === 4 ? hold : undefined));
      const running = await launch({ workers: 1 });
      const first = await launch({ workers: 1 });
      const second = await launch({ workers: 1 });
      const urgent = await launch({ workers: 1 });
      await opened.coordinator.queue.move({ id: urgent.runId, to: { $case: 'before', before: first.runId } });
      await opened.coordinator.queue.pause({ id: second.runId });
      await waitFor('step 3', () => opened.coordinator.runs.get(running.runId).step === 3);
      const before = waitingIds();
      expect(before).toEqual([urgent.runId, first.runId]);
      await reopen();
      await waitFor('the checkpoint', () => opened.coordinator.runs.get(running.runId).reason.includes('resumes'));
      expect(waitingIds()).toEqual([running.runId, ...before]);
      worker('a');
      const runs = [running, urgent, first].map(({ runId }) => runId);
      for (const runId of runs) expect(await untilEnd(opened.coordinator, runId)).toMatchObject({ status: FINISHED });
      expect(phaseOf(second.runId)).toBe(QUEUED);
      await opened.coordinator.queue.resume({ id: second.runId });
      await untilEnd(opened.coordinator, second.runId);
    });

    it('is moved, paused, resumed and cancelled by people; what cannot be done is refused with the reason', async () => {
      const { queue } = opened.coordinator;
      const [a, b, c] = [await launch(), await launch(), await launch()].map(({ runId }) => runId) as [
        string,
        string,
        string,
      ];
      expect(waitingIds()).toEqual([a, b, c]);
      expect(await queue.move({ id: c, to: { $case: 'priority', priority: 3 } })).toMatchObject({
        position: 1,
        priority: 3,
      });
      expect(waitingIds()).toEqual([c, a, b]);
      expect(await queue.pause({ id: '' })).toEqual({ ids: [], paused: true });
      expect(queue.show({})).toMatchObject({ paused: true, workersConnected: 0, workersIdle: 0 });
      expect(opened.coordinator.runs.get(c).reason).toBe('it was launched; the queue is paused');
      expect(await queue.resume({ id: '' })).toEqual({ ids: [], paused: false });
      await queue.cancel({ id: a });
      expect(waitingIds()).toEqual([c, b]);
      expect(opened.coordinator.runs.get(a)).toMatchObject({ status: RunStatus.RUN_STATUS_STOPPED });
      await expect(queue.pause({ id: a })).rejects.toMatchObject({
        code: 'failed_precondition',
        hint: expect.stringContaining('weft resume'),
      });
      await expect(queue.move({ id: 'nope', to: { $case: 'priority', priority: 3 } })).rejects.toMatchObject({
        code: 'not_found',
      });
      const hold = new Promise<void>(() => {});
      worker('w1', () => hold);
      worker('w2', () => hold);
      await waitFor('the first run', () => phaseOf(c) === RUNNING);
      await expect(queue.move({ id: c, to: { $case: 'priority', priority: 0 } })).rejects.toThrow(
        `run ${c} is running and cannot be moved`,
      );
    });

    it('gives the workers of a run to a more important one at a checkpoint, and brings it to the same losses', async () => {
      worker('alone');
      const alone = await untilEnd(opened.coordinator, (await launch({ workers: 1 })).runId);
      let urgent: RunSummary | undefined;
      const arrive = async (step: number) => {
        if (step === 2) urgent ??= await launch({ workers: 2, queue: { priority: 5 } });
      };
      worker('other');
      const patient = await launch({ workers: 2 });
      // The worker that came first has an ordinary script: the urgent launch comes from the side.
      await waitFor('a step', () => opened.coordinator.runs.get(patient.runId).step >= 1);
      await arrive(2);
      expect(await untilEnd(opened.coordinator, urgent?.runId ?? '')).toMatchObject({ status: FINISHED });
      const finished = await untilEnd(opened.coordinator, patient.runId);
      expect(finished.status).toBe(FINISHED);
      expect(await lossesOf(finished)).toEqual(await lossesOf(alone));
    });
  });

  describe(`a sweep in ${name}`, () => {
    const request = (count: number) => ({
      sweepId: 'lr-sweep-1',
      sweepJson: '{"grid":[1,2]}',
      childrenConfigJson: Array.from({ length: count }, () => launchRequest({ workers: 1, steps: 2 }).configJson),
      clientVersion: '0.1.0',
    });

    it('of twenty runs survives a restart, repeats no finished run, and is finished once', async () => {
      const { children, state } = await opened.coordinator.sweeps.launch(request(20));
      expect(state).toBe(SweepState.SWEEP_STATE_RUNNING);
      expect(children.map(({ runId }) => runId).slice(0, 2)).toEqual(['lr-sweep-1-01', 'lr-sweep-1-02']);
      expect(children[0]).toMatchObject({ parent: 'lr-sweep-1', queuePosition: 1 });
      await expect(opened.coordinator.sweeps.finish({ sweepId: 'lr-sweep-1', resultJson: '1' })).rejects.toMatchObject({
        message: '20 of 20 runs of sweep lr-sweep-1 have not ended',
      });
      const trained: string[] = [];
      const note = (step: number, runId: string) => void trained.push(`${runId}/${step}`);
      worker('a', note);
      await waitFor(
        'ten runs',
        async () => (await opened.coordinator.sweeps.get({ sweepId: 'lr-sweep-1' })).childrenEnded >= 10,
      );
      await reopen();
      const finished = (await opened.coordinator.sweeps.get({ sweepId: 'lr-sweep-1' })).children.filter(
        ({ status }) => status === FINISHED,
      );
      expect(finished.length).toBeGreaterThanOrEqual(10);
      const before = trained.splice(0);
      worker('b', note);
      await waitFor(
        'all',
        async () =>
          (await opened.coordinator.sweeps.get({ sweepId: 'lr-sweep-1' })).state === SweepState.SWEEP_STATE_READY,
        { timeoutMs: 15_000 },
      );
      for (const { runId } of finished) expect(trained.filter((step) => step.startsWith(`${runId}/`))).toEqual([]);
      expect(before.length).toBeGreaterThanOrEqual(20);
      const { runs } = opened.coordinator.runs.list();
      expect(runs).toHaveLength(20);
      for (const run of runs) expect(run).toMatchObject({ status: FINISHED, step: 2, loss: expect.any(Number) });
      const done = { sweepId: 'lr-sweep-1', resultJson: '{"best":3}' };
      expect(await opened.coordinator.sweeps.finish(done)).toMatchObject({
        state: SweepState.SWEEP_STATE_FINISHED,
        resultJson: '{"best":3}',
      });
      expect(await opened.coordinator.sweeps.finish({ ...done, resultJson: '2' })).toMatchObject({
        resultJson: '{"best":3}',
      });
      await reopen();
      expect(await opened.coordinator.sweeps.list()).toMatchObject({
        sweeps: [{ sweepId: 'lr-sweep-1', childrenEnded: 20, sweepJson: '{"grid":[1,2]}' }],
      });
    });

    it('asked for twice by its id is launched once', async () => {
      await Promise.all([opened.coordinator.sweeps.launch(request(3)), opened.coordinator.sweeps.launch(request(3))]);
      await opened.coordinator.sweeps.launch(request(3));
      expect(opened.coordinator.runs.list().runs).toHaveLength(3);
    });

    it('is launched whole by the next coordinator when the one before died in the middle of it', async () => {
      const config = resolveRunConfig(JSON.parse(launchRequest({ workers: 1, steps: 2 }).configJson));
      const job = (runId: string) =>
        newRunJob(createRunJob({ runId, config, resubmissions: 0 }), { config, weftVersion: '0.1.0' });
      await opened.close();
      const log = createLogger({ role: 'coordinator', level: 'silent' });
      const half = await acquireStore({ home: site.home, ...site.store, log });
      const jobs = await half.store.openQueue(half.lease);
      await jobs.addFlow({ id: sweepJobId('half'), kind: 'sweep', data: { sweep: null } }, [
        job('half-1'),
        job('half-2'),
      ]);
      await half.close();
      await open();
      expect(await opened.coordinator.sweeps.get({ sweepId: 'half' })).toMatchObject({
        childrenTotal: 2,
        children: [{ runId: 'half-1' }, { runId: 'half-2' }],
      });
      worker('a');
      for (const runId of ['half-1', 'half-2']) await untilEnd(opened.coordinator, runId);
    });

    it('is cancelled with all its runs, or ended run by run', async () => {
      const hold = new Promise<void>(() => {});
      worker('a', () => hold);
      await opened.coordinator.sweeps.launch(request(3));
      await opened.coordinator.runs.stop({ runId: 'lr-sweep-1-3', saveCheckpoint: false });
      const { ids } = await opened.coordinator.queue.cancel({ id: 'lr-sweep-1' });
      expect(ids).toEqual(['lr-sweep-1-1', 'lr-sweep-1-2', 'lr-sweep-1']);
      expect(await opened.coordinator.sweeps.get({ sweepId: 'lr-sweep-1' })).toMatchObject({
        state: SweepState.SWEEP_STATE_CANCELLED,
        childrenEnded: 3,
      });
      expect(opened.coordinator.queue.show({}).entries).toEqual([]);
    });
  });
}
