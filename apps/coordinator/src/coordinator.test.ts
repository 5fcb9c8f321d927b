import { appendFile, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { WEFT_VERSION, WeftError } from '@weft/common';
import type { MetricsRow } from '@weft/contracts';
import { ledgerRecords } from '@weft/coordination';
import { Ledger } from '@weft/mixture';
import { RunStatus, type RunSummary } from '@weft/proto';
import { openStore } from '@weft/store';
import { FakeClock, type TemporaryDirectory, temporaryDirectory, waitFor } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Coordinator } from './coordinator.js';
import { readRunLog } from './run-files.js';
import { launchRequest, openCoordinator } from './testing/open-coordinator.js';
import { ScriptedWorker, type ScriptOptions } from './testing/scripted-worker.js';

let directory: TemporaryDirectory;
let home: string;
beforeEach(async () => {
  directory = await temporaryDirectory();
  home = directory.path;
});
afterEach(() => directory.remove());

const ended = [RunStatus.RUN_STATUS_FINISHED, RunStatus.RUN_STATUS_STOPPED, RunStatus.RUN_STATUS_FAILED];
const untilEnd = (coordinator: Coordinator, runId: string): Promise<RunSummary> =>
  waitFor(`the end of ${runId}`, () => {
    const run = coordinator.runs.get(runId);
    return ended.includes(run.status) && run;
  });

const workers = (coordinator: Coordinator, ids: readonly string[], options: Partial<ScriptOptions> = {}) =>
  ids.map((workerId) => new ScriptedWorker(coordinator, { workerId, ...options }));

async function rowsOf({ directory: run }: RunSummary): Promise<MetricsRow[]> {
  const text = await readFile(join(run, 'metrics.jsonl'), 'utf8');
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as MetricsRow);
}

/** The ledger is whole and the metrics have one row per step. */
async function expectWhole(run: RunSummary): Promise<void> {
  const ledger = Ledger.fold(ledgerRecords(await readRunLog(await openStore({ home }), run.runId)));
  expect(ledger.problems()).toEqual([]);
  expect(ledger.lastStep).toBe(run.step);
  const rows = await rowsOf(run);
  expect(rows.map(({ step }) => step)).toEqual(Array.from({ length: run.step }, (_, index) => index + 1));
  expect(rows.map(({ loss }) => loss)).toEqual(ledger.entries.map(({ loss }) => loss));
}

describe('a coordinator', () => {
  it('trains a run to its end and keeps config, log, metrics and checkpoints of it', async () => {
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    const { runId, reason, status } = await coordinator.runs.launch(launchRequest());
    expect(status).toBe(RunStatus.RUN_STATUS_QUEUED);
    expect(reason).toBe(
      'it was launched; it waits for 2 more workers: it needs 2, 0 are connected and 0 of them are idle',
    );
    const [a] = workers(coordinator, ['a', 'b']);
    const run = await untilEnd(coordinator, runId);
    expect(run).toMatchObject({ status: RunStatus.RUN_STATUS_FINISHED, step: 6, checkpointStep: 6, recipe: 'tiny' });
    await expectWhole(run);
    expect((await rowsOf(run))[0]).toMatchObject({ tokensPerSecond: 100, seconds: { data: 0.1, apply: 0.4 } });
    expect(await readdir(join(run.directory, 'checkpoints'))).toEqual([2, 4, 6].map((step) => `step-0000000${step}`));
    expect(JSON.parse(await readFile(join(run.directory, 'config.json'), 'utf8'))).toMatchObject({ steps: 6 });
    expect(a?.assignments).toMatchObject([{ rank: 0, ringAddresses: ['a:1', 'b:1'], runDirectory: run.directory }]);
    expect(a?.assignments[0]?.ringToken).toMatch(/^[0-9a-f]{32}$/);
    expect(coordinator.runs.cluster()).toMatchObject({
      coordinatorVersion: WEFT_VERSION,
      workers: [
        { workerId: 'a', runId: '' },
        { workerId: 'b', runId: '' },
      ],
    });
  });

  it('goes on with the others when a worker is killed, to the same losses', async () => {
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    const undisturbed = await coordinator.runs.launch(launchRequest({ workers: 1 }));
    const [first] = workers(coordinator, ['first']);
    await untilEnd(coordinator, undisturbed.runId);
    first?.kill();
    const dying = (step: number, worker: ScriptedWorker) => {
      if (step === 4 && worker.workerId === 'b') worker.kill();
    };
    const { runId } = await coordinator.runs.launch(launchRequest({ workers: 3 }));
    workers(coordinator, ['a', 'b', 'c'], { beforeStep: dying });
    const run = await untilEnd(coordinator, runId);
    expect(run).toMatchObject({ status: RunStatus.RUN_STATUS_FINISHED, generation: 2 });
    await expectWhole(run);
    const losses = (rows: MetricsRow[]) => rows.map(({ loss }) => loss);
    expect(losses(await rowsOf(run))).toEqual(losses(await rowsOf(undisturbed)));
    expect(opened.lines.find(({ level }) => level === 'warn')?.message).toContain(
      'rank 1 (b on host) was lost: the other end left without closing the stream',
    );
  });

  it('queues a run that lost its last worker and resumes it from the disk when workers connect', async () => {
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    const { runId } = await coordinator.runs.launch(launchRequest());
    workers(coordinator, ['a', 'b'], { beforeStep: (step, worker) => (step === 4 ? worker.kill() : undefined) });
    await waitFor('the queue', () =>
      coordinator.runs.get(runId).reason.includes('resumes from the checkpoint of step 2'),
    );
    const [c] = workers(coordinator, ['c', 'd']);
    await expectWhole(await untilEnd(coordinator, runId));
    expect(c?.assignments[0]).toMatchObject({ firstStep: 3, state: { $case: 'checkpointDirectory' } });
  });

  it('gives up a worker that is silent, closes its stream and says why', async () => {
    const clock = new FakeClock();
    await using opened = await openCoordinator(home, { clock, timeouts: { heartbeatTimeoutMs: 1000 } });
    const [silent] = workers(opened.coordinator, ['silent']);
    await waitFor('the worker', () => opened.coordinator.runs.cluster().workers.length === 1);
    await opened.coordinator.updateMetrics();
    expect(await opened.metrics.registry.metrics()).toContain('\nweft_coordinator_oldest_heartbeat_age_seconds 0\n');
    expect(opened.coordinator.scrapeTargets()).toEqual([
      { targets: ['silent:2'], labels: { run: '', rank: '', host: 'host', role: 'rank' } },
    ]);
    const passing = waitFor('time', async () => {
      await clock.advance(200);
      return opened.coordinator.runs.cluster().workers.length === 0;
    });
    expect(await silent?.gone).toMatchObject({
      code: 'deadline_exceeded',
      message: 'the coordinator gave up worker silent: it sent no heartbeat for 1 s',
    });
    await passing;
  });

  it('takes a heartbeat from beside the stream as one', async () => {
    const clock = new FakeClock();
    await using opened = await openCoordinator(home, { clock, timeouts: { heartbeatTimeoutMs: 1000 } });
    const { coordinator } = opened;
    const [busy] = workers(coordinator, ['busy']);
    const token = await waitFor('the welcome', () => busy?.heartbeatToken);
    for (let i = 0; i < 10; i++) {
      await clock.advance(400);
      coordinator.workers.heartbeat('busy', token);
    }
    expect(coordinator.runs.cluster().workers).toHaveLength(1);
    expect(() => coordinator.workers.heartbeat('nobody', token)).toThrow('worker nobody is not connected');
  });

  it("takes no stranger's heartbeat for that of a worker that is silent", async () => {
    const clock = new FakeClock();
    await using opened = await openCoordinator(home, { clock, timeouts: { heartbeatTimeoutMs: 1000 } });
    const { coordinator } = opened;
    const [frozen] = workers(coordinator, ['frozen']);
    const token = await waitFor('the welcome', () => frozen?.heartbeatToken);
    await waitFor('its loss', async () => {
      await clock.advance(200);
      if (coordinator.runs.cluster().workers.length === 0) return true;
      for (const guess of ['', `${token}0`])
        expect(() => coordinator.workers.heartbeat('frozen', guess)).toThrow('is not connected by the stream');
      return false;
    });
    expect(() => coordinator.workers.heartbeat('frozen', token)).toThrow('is not connected');
  });

  it('replaces the stream of a worker that connects again', async () => {
    await using opened = await openCoordinator(home);
    const [first] = workers(opened.coordinator, ['a']);
    await waitFor('the worker', () => opened.coordinator.runs.cluster().workers.length === 1);
    const [second] = workers(opened.coordinator, ['a']);
    await first?.gone;
    const { runId } = await opened.coordinator.runs.launch(launchRequest({ workers: 1 }));
    await untilEnd(opened.coordinator, runId);
    expect([first?.assignments.length, second?.assignments.length]).toEqual([0, 1]);
  });
});

describe('what a coordinator refuses', () => {
  it('is a worker of another version', async () => {
    await using opened = await openCoordinator(home);
    const [old] = workers(opened.coordinator, ['old'], { version: '0.0.9' });
    expect(await old?.gone).toMatchObject({
      code: 'version_mismatch',
      message: `worker old on host is Weft 0.0.9, the coordinator is Weft ${WEFT_VERSION}`,
      hint: 'install the same version of Weft on both sides',
    });
    expect(opened.coordinator.runs.cluster().workers).toEqual([]);
  });

  it('is a client of another version, and a configuration that cannot be', async () => {
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    await expect(coordinator.runs.launch({ ...launchRequest(), clientVersion: '9' })).rejects.toMatchObject({
      code: 'version_mismatch',
    });
    await expect(coordinator.runs.launch(launchRequest({ workers: 10 }))).rejects.toThrow(
      'workers is 10, but must be at most globalBatchSize (9)',
    );
    await expect(coordinator.runs.launch(launchRequest({ queue: { after: ['nobody'] } }))).rejects.toThrow(
      'queue.after names the run "nobody", which does not exist',
    );
    await expect(coordinator.runs.launch({ ...launchRequest(), configJson: '{' })).rejects.toThrow('is not JSON');
    expect(coordinator.runs.list().runs).toEqual([]);
  });

  it('is a run that nobody knows', async () => {
    await using opened = await openCoordinator(home);
    const missing = { code: 'not_found', message: 'there is no run "nope"' };
    const { coordinator } = opened;
    await expect(coordinator.runs.stop({ runId: 'nope', saveCheckpoint: true })).rejects.toMatchObject(missing);
    await expect(coordinator.runs.resume({ runId: 'nope', workers: 0, steps: 0, settings: [] })).rejects.toMatchObject(
      missing,
    );
    await expect(coordinator.runs.watch({ runId: 'nope' }).next()).rejects.toMatchObject(missing);
    expect(() => coordinator.runs.get('nope')).toThrow(WeftError);
  });

  it('is a home that another coordinator keeps', async () => {
    await using opened = await openCoordinator(home);
    expect(opened.coordinator.runs.list().runs).toEqual([]);
    await expect(openCoordinator(home)).rejects.toMatchObject({
      code: 'failed_precondition',
      hint: 'use that one, stop it, or give this one a --home of its own',
    });
  });
});

describe('a coordinator that comes back', () => {
  const interrupted = async (): Promise<string> => {
    await using opened = await openCoordinator(home);
    const { runId } = await opened.coordinator.runs.launch(launchRequest());
    const never = new Promise<void>(() => {});
    const all = workers(opened.coordinator, ['a', 'b'], { beforeStep: (step) => (step === 6 ? never : undefined) });
    await waitFor(
      'step 5',
      () => opened.coordinator.runs.get(runId).step === 5 && opened.coordinator.runs.get(runId).checkpointStep === 4,
    );
    await opened.coordinator.close();
    expect((await Promise.all(all.map(({ gone }) => gone))).map((error) => error?.code)).toEqual([
      'unavailable',
      'unavailable',
    ]);
    return runId;
  };

  it('goes on with its runs by itself', async () => {
    const runId = await interrupted();
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    expect(coordinator.runs.get(runId)).toMatchObject({ status: RunStatus.RUN_STATUS_QUEUED });
    const [c] = workers(coordinator, ['c', 'd']);
    await expectWhole(await untilEnd(coordinator, runId));
    expect(c?.assignments[0]).toMatchObject({ firstStep: 5, generation: 2 });
  });

  it('with manual recovery leaves them alone until somebody resumes them with other workers and steps', async () => {
    const runId = await interrupted();
    await using opened = await openCoordinator(home, { recover: 'manual' });
    const { coordinator } = opened;
    expect(coordinator.runs.get(runId)).toMatchObject({ status: RunStatus.RUN_STATUS_STOPPED, step: 5 });
    expect(coordinator.runs.get(runId).reason).toContain(`weft resume ${runId}`);
    await coordinator.runs.resume({ runId, workers: 1, steps: 8, settings: [] });
    workers(coordinator, ['c']);
    const run = await untilEnd(coordinator, runId);
    expect(run).toMatchObject({ status: RunStatus.RUN_STATUS_FINISHED, step: 8, steps: 8, workers: 1 });
    await expectWhole(run);
    expect(JSON.parse(await readFile(join(run.directory, 'config.json'), 'utf8'))).toMatchObject({ workers: 1 });
  });

  it('falls back to the newest checkpoint that verifies, and says which it skipped', async () => {
    const runId = await interrupted();
    const damaged = join(home, 'runs', runId, 'checkpoints', 'step-00000004', 'shard-00000-of-00002.safetensors');
    const bytes = await readFile(damaged);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(damaged, bytes);
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    await waitFor('the look-up', () => coordinator.runs.get(runId).reason.includes('step-00000004 was skipped'));
    expect(coordinator.runs.get(runId).reason).toContain('it resumes from the checkpoint of step 2');
    expect(opened.lines.some(({ level, message }) => level === 'warn' && message.includes('was skipped'))).toBe(true);
    workers(coordinator, ['c', 'd']);
    await expectWhole(await untilEnd(coordinator, runId));
  });

  it('does not begin again when the checkpoints are away, but goes on once they are back', async () => {
    const runId = await interrupted();
    const [folder, away] = [join(home, 'runs', runId, 'checkpoints'), join(home, 'away')];
    await rename(folder, away);
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    const failed = await untilEnd(coordinator, runId);
    expect(failed).toMatchObject({ status: RunStatus.RUN_STATUS_FAILED, step: 5 });
    expect(failed.reason).toBe(
      `the log of run ${runId} names the checkpoints step-00000002, step-00000004 in ${folder}, but none of them can be used (step-00000004: it is missing; step-00000002: it is missing)`,
    );
    const resume = (fromStep?: number) =>
      coordinator.runs.resume({ runId, workers: 0, steps: 0, settings: [], fromStep });
    await expect(resume()).rejects.toMatchObject({ code: 'failed_precondition', message: failed.reason });
    await expect(resume(4)).rejects.toMatchObject({ code: 'not_found', hint: 'begin again with --from-start' });
    await rename(away, folder);
    await expect(resume(3)).rejects.toMatchObject({ code: 'not_found', hint: 'choose one of the steps 4, 2' });
    expect((await resume()).step).toBe(4);
  });

  it('goes on from an older checkpoint, or from the beginning, when a person says so', async () => {
    const runId = await interrupted();
    await using opened = await openCoordinator(home, { recover: 'manual' });
    const { coordinator } = opened;
    const checkpoints = () => readdir(join(home, 'runs', runId, 'checkpoints'));
    expect((await coordinator.runs.resume({ runId, workers: 0, steps: 0, settings: [], fromStep: 2 })).step).toBe(2);
    expect(await checkpoints()).toEqual(['step-00000002', expect.stringMatching(/^step-00000004\.rolled-back-/)]);
    expect((await coordinator.runs.resume({ runId, workers: 1, steps: 0, settings: [], fromStep: 0 })).step).toBe(0);
    const [c] = workers(coordinator, ['c']);
    await expectWhole(await untilEnd(coordinator, runId));
    expect(c?.assignments[0]).toMatchObject({ firstStep: 1, state: { $case: 'fresh' } });
    expect((await checkpoints()).filter((name) => /^step-\d+$/.test(name))).toEqual([
      'step-00000002',
      'step-00000004',
      'step-00000006',
    ]);
  });

  it('cuts a torn end off the log and says so', async () => {
    const runId = await interrupted();
    await appendFile(join(home, 'runs', runId, 'events.jsonl'), '{"sequence":999,"la');
    await using opened = await openCoordinator(home);
    workers(opened.coordinator, ['c', 'd']);
    await expectWhole(await untilEnd(opened.coordinator, runId));
    expect(opened.lines.some(({ message }) => message.includes('of an unfinished write off the end'))).toBe(true);
  });

  it('serves the other runs when the log of one cannot be read', async () => {
    const runId = await interrupted();
    await using again = await openCoordinator(home, { recover: 'manual' });
    const other = await again.coordinator.runs.launch(launchRequest());
    await again.close();
    await writeFile(join(home, 'runs', runId, 'events.jsonl'), 'rubbish\nrubbish\n');
    await using opened = await openCoordinator(home, { recover: 'manual' });
    expect(opened.coordinator.runs.list().runs.map((run) => run.runId)).toEqual([other.runId]);
    expect(opened.lines.find(({ level }) => level === 'error')?.message).toContain(`run ${runId} is left out`);
  });
});

describe('watching a run', () => {
  it('shows it as it is, the metrics asked for, every change, and its end', async () => {
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    const { runId } = await coordinator.runs.launch(launchRequest());
    let goOn = () => {};
    const barrier = new Promise<void>((resolve) => {
      goOn = resolve;
    });
    workers(coordinator, ['a', 'b'], { beforeStep: (step) => (step === 4 ? barrier : undefined) });
    await waitFor('step 3', () => coordinator.runs.get(runId).step === 3);
    const seen: string[] = [];
    const steps: number[] = [];
    for await (const { body } of coordinator.runs.watch({ runId, afterStep: 1 })) {
      if (body?.$case === 'summary') seen.push(`${body.summary.status}/${body.summary.step}`);
      if (body?.$case === 'metricsJson') steps.push((JSON.parse(body.metricsJson) as MetricsRow).step);
      if (steps.length === 2) goOn();
    }
    expect(steps).toEqual([2, 3, 4, 5, 6]);
    expect(seen[0]).toBe(`${RunStatus.RUN_STATUS_RUNNING}/3`);
    expect(seen.at(-1)).toBe(`${RunStatus.RUN_STATUS_FINISHED}/6`);
    expect(new Set(seen).size).toBeGreaterThanOrEqual(4);
    const after: string[] = [];
    for await (const { body } of coordinator.runs.watch({ runId })) after.push(body?.$case ?? '');
    expect(after).toEqual(['summary']);
  });

  it('ends when the watcher leaves and when the coordinator does', async () => {
    await using opened = await openCoordinator(home);
    const { runId } = await opened.coordinator.runs.launch(launchRequest());
    const leaving = new AbortController();
    const watched = async (signal?: AbortSignal) => {
      let updates = 0;
      for await (const _ of opened.coordinator.runs.watch({ runId }, signal)) updates++;
      return updates;
    };
    const first = watched(leaving.signal);
    const second = watched();
    leaving.abort();
    expect(await first).toBeLessThanOrEqual(1);
    await opened.coordinator.close();
    expect(await second).toBe(1);
  });
});

describe('stopping a run', () => {
  it('saves a checkpoint after the current step, from which it resumes', async () => {
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    const { runId } = await coordinator.runs.launch(launchRequest());
    let stopping: Promise<unknown> | undefined;
    const beforeStep = async (step: number) => {
      if (step !== 3) return;
      stopping ??= coordinator.runs.stop({ runId, saveCheckpoint: true });
      await stopping;
    };
    workers(coordinator, ['a', 'b'], { beforeStep });
    const stopped = await untilEnd(coordinator, runId);
    expect(stopped).toMatchObject({ status: RunStatus.RUN_STATUS_STOPPED, step: 3, checkpointStep: 3 });
    await coordinator.runs.resume({ runId, workers: 0, steps: 0, settings: [] });
    await expectWhole(await untilEnd(coordinator, runId));
  });
});

describe('a coordinator whose workers are too small', () => {
  const kibibytes = (count: number) => ({ hostBytes: count * 2 ** 10, devices: 0, deviceBytes: 0 });

  it('refuses a launch before it takes a worker, and keeps nothing of it', async () => {
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    const ends = workers(coordinator, ['a', 'b'], { memory: kibibytes(4) });
    await waitFor('both', () => coordinator.runs.cluster().workers.length === 2);
    await expect(coordinator.runs.launch(launchRequest())).rejects.toMatchObject({
      code: 'failed_precondition',
      message: expect.stringMatching(
        /^the run does not fit: worker a on host has 4.KiB of memory, and needs at least /,
      ),
      hint: expect.stringContaining('--dry-run --devices'),
    });
    expect(coordinator.runs.list().runs).toEqual([]);
    expect(ends.flatMap(({ assignments }) => assignments)).toEqual([]);
  });

  it('queues what they cannot hold until larger ones come, also after a restart', async () => {
    const first = await openCoordinator(home);
    const { runId } = await first.coordinator.runs.launch(launchRequest());
    await first.close();
    await using opened = await openCoordinator(home);
    const { coordinator } = opened;
    workers(coordinator, ['a', 'b'], { memory: kibibytes(4) });
    const waiting = () =>
      /waits for workers with more memory: worker a on host/.test(coordinator.runs.get(runId).reason);
    await waitFor('the reason', waiting);
    workers(coordinator, ['c', 'd'], { memory: kibibytes(2 ** 20) });
    expect((await untilEnd(coordinator, runId)).status).toBe(RunStatus.RUN_STATUS_FINISHED);
  });
});

describe('a coordinator that cannot write its log', () => {
  it('refuses the launch and asks to be ended', async () => {
    await using opened = await openCoordinator(home);
    await writeFile(join(home, 'runs'), 'in the way');
    await expect(opened.coordinator.runs.launch(launchRequest())).rejects.toThrow();
    expect(await opened.coordinator.failed).toBeInstanceOf(WeftError);
    expect(opened.coordinator.runs.list().runs).toEqual([]);
  });
});
