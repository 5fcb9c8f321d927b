import { spawnSync } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { panelExpressions, resolveExpression } from '@weft/monitoring';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Cluster, type Daemon } from './cluster.js';
import { Prometheus } from './prometheus.js';
import { until, withSettings } from './weft.js';

/** All times of scrapes and alerts are a fiftieth: a scrape every 300 ms, and the last five minutes are six seconds. */
const SCALE = ['--time-scale', '0.02'];
/** `scripts/rehearse-alerts.mjs`: every alert that can be brought about on one machine. */
const isLong = process.env.WEFT_TEST_ALL_ALERTS === '1';

/** The smallest run that has what dashboards show: sources, held-out sets, experts in a process of their own. */
const WITH_EXPERTS = `
recipe: debugNano
workers: 3
expertWorkers: 1
steps: 1000000
globalBatchSize: 6
model:
  decoder:
    moe: { experts: 2, everyLayers: 2, capacityFactor: 2, groupSize: 64, loadBalanceWeight: 0.01, routerZWeight: 0.001, jitter: 0, exchangePrecision: fp32 }
checkpoint: { everySteps: 4 }
evaluation: { sequencesPerSource: 2, everySteps: 4 }
`;
/** And one whose tasks are scored, which ranks cannot do without their experts. */
const WITH_TASKS = `
recipe: debugNano
workers: 1
steps: 1
model: { sequenceLength: 128 }
data: { imagesPerSequence: 8 }
evaluation: { sequencesPerSource: 4, tasks: demo, shots: [0], examplesPerTask: 1 }
`;

async function launchFile(text: string): Promise<string> {
  const file = join(cluster.home.path, 'run.yaml');
  await writeFile(file, text);
  const { code, stdout, stderr } = await cluster.weft('launch', file, '--detach', '--json', ...withSettings({}));
  expect(code, stderr).toBe(0);
  return (JSON.parse(stdout) as { runId: string }).runId;
}

let cluster: Cluster;
let workers: Daemon[];
let prometheus: Prometheus;
let beganMs: number;

beforeAll(async () => {
  cluster = await Cluster.make('', { WEFT_PEAK_TFLOPS: '0.1' });
  prometheus = await Prometheus.start(cluster.home, ...SCALE);
  beganMs = Date.now();
  // A worker that is stopped for a while must not be lost, however slow the machine is.
  cluster.coordinator('--heartbeat-timeout', '120', '--price-per-worker-hour', '2', '--page', 'off');
  workers = await Promise.all([cluster.worker(), cluster.worker(), cluster.worker()]);
  await cluster.worker('expert-worker');
  await cluster.ready(4);
});
afterAll(async () => {
  await prometheus?.[Symbol.asyncDispose]();
  await cluster?.remove();
});

const promtool = (page: string) => {
  const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: page, encoding: 'utf8' });
  return { status, complaints: stdout + stderr };
};

describe('a Prometheus with our configuration', () => {
  it('finds a run by itself, loads all rules, and has data for every panel of every dashboard', async () => {
    const runId = await launchFile(WITH_EXPERTS);
    const scored = await launchFile(WITH_TASKS);
    await cluster.home.untilStep(runId, 8);

    const targets = await prometheus.untilScraping(4);
    for (const { scrapeUrl } of targets) {
      const page = await (await fetch(scrapeUrl)).text();
      expect(promtool(page), scrapeUrl).toEqual({ status: 0, complaints: '' });
      if (scrapeUrl.includes((await cluster.home.coordinator()).metricsAddress))
        expect(page).toMatch(new RegExp(`^weft_run_source_loss{run="${runId}",source="captioned"} [0-9]`, 'm'));
      else expect(page).not.toMatch(/^weft_run_/m);
    }
    const found = targets.map(({ labels }) => labels).filter(({ job }) => job === 'weft-workers');
    expect(found.filter((each) => each.run === runId && each.host === hostname())).toHaveLength(4);
    const rolesAndRanks = found.map(({ role, rank }) => `${role} ${rank}`);
    expect(rolesAndRanks.toSorted()).toEqual(['expertWorker 0', 'rank 0', 'rank 1', 'rank 2']);
    const served = await fetch(`http://${(await cluster.home.coordinator()).metricsAddress}/sd/workers`);
    const written = await readFile(join(cluster.home.path, 'prometheus-targets.json'), 'utf8');
    expect(JSON.parse(written)).toEqual(await served.json());

    // The other one waits for its workers.
    await cluster.stop(runId);
    await cluster.untilStatus(scored, 'finished');
    const rules = await prometheus.rules();
    expect(rules.map(({ name }) => name)).toContain('WeftRunStalled');
    expect(rules.filter(({ health }) => health !== 'ok')).toEqual([]);
    const row = cluster.home.metrics(runId).at(-1) as unknown as Record<string, unknown>;
    expect(row.mfu).toBeGreaterThan(0);
    expect(Object.keys(row.sourceLoss as object)).not.toEqual([]);

    const table: { readonly panel: string; readonly values: readonly number[] }[] = [];
    for (const { panel, expression } of panelExpressions()) {
      const query = resolveExpression(expression, `${runId}|${scored}`, '3s');
      let values: readonly number[] = [];
      // What changed with the last step comes with the next scrape.
      await until(
        () => `data for ${panel}: ${query}`,
        async () => {
          values = await prometheus.valuesOf(query, beganMs, Date.now());
          return values.length > 0;
        },
      );
      table.push({ panel, values });
    }
    // Instead of a picture: a Grafana is nowhere to be had.
    if (isLong)
      for (const { panel, values } of table)
        console.log(`${panel}: ${values.slice(0, 6).map((each) => each.toPrecision(4))}`);
  });

  it('finds workers over HTTP as well', async () => {
    const { metricsAddress } = await cluster.home.coordinator();
    await using other = await Prometheus.start(cluster.home, ...SCALE, '--metrics', metricsAddress);
    await other.untilScraping(4);
  });
});

describe('an alert fires, and clears again', () => {
  it('when a worker is stopped for a while: about the run, and about its checkpoint', async () => {
    const runId = await cluster.launch(...withSettings({ workers: 3, steps: 1_000_000, 'checkpoint.everySteps': 2 }));
    await cluster.home.untilCheckpoint(runId, 10);
    for (const name of ['WeftRunStalled', 'WeftCheckpointTooOld']) await prometheus.untilAlert(name, false);
    workers[0]?.process.kill('SIGSTOP');
    await prometheus.untilAlert('WeftRunStalled', true);
    expect((await prometheus.firing('WeftRunStalled')).map(({ run }) => run)).toEqual([runId]);
    await prometheus.untilAlert('WeftCheckpointTooOld', true);
    expect(await prometheus.firing('WeftWorkerLost')).toEqual([]);
    workers[0]?.process.kill('SIGCONT');
    for (const name of ['WeftRunStalled', 'WeftCheckpointTooOld']) await prometheus.untilAlert(name, false);

    await workers[1]?.kill();
    await prometheus.untilAlert('WeftWorkerLost', true);
    await prometheus.untilAlert('WeftWorkerLost', false);
    expect((await cluster.weft('stop', runId, '--no-checkpoint')).code).toBe(0);
  });

  it('when gradients are NaN', async () => {
    const runId = await cluster.launch(
      ...withSettings({ workers: 2, steps: 1_000_000, 'optimizer.learningRate': '1e30', 'optimizer.weightDecay': 0 }),
    );
    await prometheus.untilAlert('WeftStepsNotFinite', true);
    expect((await prometheus.firing('WeftStepsNotFinite')).map(({ run }) => run)).toEqual([runId]);
    expect((await cluster.weft('stop', runId, '--no-checkpoint')).code).toBe(0);
    await prometheus.untilAlert('WeftStepsNotFinite', false);
  });

  it.runIf(isLong)('when no coordinator leads', async () => {
    await prometheus.untilAlert('WeftNoCoordinator', false);
    process.kill(cluster.coordinatorProcessId, 'SIGSTOP');
    await prometheus.untilAlert('WeftNoCoordinator', true);
    process.kill(cluster.coordinatorProcessId, 'SIGCONT');
    await prometheus.untilAlert('WeftNoCoordinator', false);
  });

  it.runIf(isLong)('when a rank keeps the others waiting, and goodput falls', async () => {
    const runId = await cluster.launch(...withSettings({ workers: 2, steps: 1_000_000 }));
    await cluster.home.untilStep(runId, 10);
    // Stopped for most of the time, and never for so long that it is lost.
    const slow = setInterval(() => {
      workers[0]?.process.kill('SIGSTOP');
      setTimeout(() => workers[0]?.process.kill('SIGCONT'), 800);
    }, 1000);
    await prometheus.untilAlert('WeftStraggler', true);
    await prometheus.untilAlert('WeftGoodputLow', true);
    clearInterval(slow);
    workers[0]?.process.kill('SIGCONT');
    await prometheus.untilAlert('WeftStraggler', false);
    await prometheus.untilAlert('WeftGoodputLow', false);
    expect((await cluster.weft('stop', runId, '--no-checkpoint')).code).toBe(0);
  });
});
