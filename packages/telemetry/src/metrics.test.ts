import { fileURLToPath } from 'node:url';
import { DEFAULT_SOURCES } from '@weft/common';
import type { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { CoordinatorMetrics } from './coordinator-metrics.js';
import { LABELS, type MetricDeclaration } from './declare-metric.js';
import { COORDINATOR_METRICS, RUN_METRICS, WORKER_METRICS } from './metrics.js';
import { metricsPage } from './metrics-page.js';
import { exampleRun } from './testing/example-run.js';
import { WorkClock } from './work-clock.js';
import { type StepMeasurements, WorkerMetrics } from './worker-metrics.js';

const step = (changes: Partial<StepMeasurements> = {}): StepMeasurements => ({
  step: 7,
  applied: true,
  seconds: { data: 0.002, compute: 0.4, communication: 0.05, apply: 0.02 },
  ringBytes: { sent: 1000, received: 900 },
  ...changes,
});

/** The samples of a registry: `name{labels}` → value. */
async function samples(registry: Registry): Promise<Map<string, number>> {
  const lines = (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]),
  );
}

describe('the metrics of a worker', () => {
  it('show every series from the start, at zero', async () => {
    const metrics = new WorkerMetrics();
    metrics.onScrape();
    const found = await samples(metrics.registry);
    expect(found.get('weft_worker_step_phase_seconds_count{phase="apply"}')).toBe(0);
    expect(found.get('weft_worker_time_seconds_total{bucket="recovering"}')).toBe(0);
    expect(found.get('weft_worker_rank')).toBe(-1);
    expect([...found.keys()].filter((name) => name.startsWith('weft_worker_run_info'))).toEqual([]);
    metrics.joinedRun({ runId: 'tiny-1', rank: 0, worldSize: 1, generation: 1, sources: [...DEFAULT_SOURCES, 'art'] });
    const ofRun = await samples(metrics.registry);
    expect(ofRun.get('weft_worker_sequences_total{source="interleaved"}')).toBe(0);
    expect(ofRun.get('weft_worker_images_total{source="art"}')).toBe(0);
    expect(found.get(`weft_worker_info{version="0.1.0",node_version="${process.version}"}`)).toBe(1);
  });

  it('are about that worker, and say nothing of its run', async () => {
    const metrics = new WorkerMetrics();
    metrics.joinedRun({ runId: 'tiny-1', rank: 0, worldSize: 1, generation: 1, sources: DEFAULT_SOURCES });
    metrics.stepDone(step());
    expect([...(await samples(metrics.registry)).keys()].filter((name) => !name.startsWith('weft_worker_'))).toEqual(
      [],
    );
  });

  it('follow the steps of an expert worker, which is no rank', async () => {
    const metrics = new WorkerMetrics();
    metrics.servesRun({ runId: 'moe-1', worldSize: 2, generation: 3 });
    metrics.stepServed({ step: 7, applied: true, computeSeconds: 0.5, idleSeconds: 0.25, applySeconds: 0.1 });
    expect(Object.fromEntries(await samples(metrics.registry))).toMatchObject({
      'weft_worker_run_info{run_id="moe-1"}': 1,
      weft_worker_rank: -1,
      weft_worker_world_size: 2,
      weft_worker_step: 7,
      weft_worker_steps_applied_total: 1,
      'weft_worker_step_phase_seconds_sum{phase="compute"}': 0.5,
      weft_worker_step_seconds_sum: 0.85,
      weft_worker_expert_idle_seconds_total: 0.25,
    });
  });

  it('follow the steps', async () => {
    let nowMs = 0;
    const clock = new WorkClock('idle', () => nowMs);
    const metrics = new WorkerMetrics(clock);
    metrics.joinedRun({ runId: 'tiny-1', rank: 1, worldSize: 2, generation: 3, sources: DEFAULT_SOURCES });
    metrics.indexOpened({ captioned: { 'it has no text': 3 } });
    metrics.stepDone(step({ exchange: { bytesSent: 10, bytesReceived: 20, waitingSeconds: 0.5 } }));
    metrics.stepDone(step({ step: 8, applied: false }));
    metrics.checkpointBegun(0.2);
    metrics.ringFailed();
    metrics.coordinatorReconnected();
    nowMs = 3000;
    clock.enter('computing');
    metrics.onScrape();
    metrics.onScrape();
    expect(Object.fromEntries(await samples(metrics.registry))).toMatchObject({
      'weft_worker_run_info{run_id="tiny-1"}': 1,
      weft_worker_rank: 1,
      weft_worker_world_size: 2,
      weft_worker_generation: 3,
      weft_worker_step: 8,
      weft_worker_steps_applied_total: 1,
      weft_worker_steps_skipped_total: 1,
      'weft_worker_time_seconds_total{bucket="idle"}': 3,
      'weft_worker_bad_samples{source="captioned",reason="it has no text"}': 3,
      weft_worker_checkpoint_stall_seconds_sum: 0.2,
      'weft_worker_step_phase_seconds_sum{phase="compute"}': 0.8,
      'weft_worker_step_phase_seconds_bucket{le="0.003",phase="data"}': 2,
      weft_worker_ring_sent_bytes_total: 2000,
      weft_worker_ring_received_bytes_total: 1800,
      weft_worker_expert_sent_bytes_total: 10,
      weft_worker_expert_received_bytes_total: 20,
      weft_worker_expert_waiting_seconds_total: 0.5,
      weft_worker_ring_failures_total: 1,
      weft_worker_coordinator_reconnects_total: 1,
    });
  });

  it('forget the run when it is over', async () => {
    const metrics = new WorkerMetrics();
    metrics.joinedRun({ runId: 'tiny-1', rank: 1, worldSize: 2, generation: 1, sources: DEFAULT_SOURCES });
    metrics.joinedRun({ runId: 'tiny-2', rank: 0, worldSize: 2, generation: 1, sources: DEFAULT_SOURCES });
    const runs = async () => [...(await samples(metrics.registry)).keys()].filter((name) => name.includes('run_info'));
    expect(await runs()).toEqual(['weft_worker_run_info{run_id="tiny-2"}']);
    metrics.leftRun();
    expect(await runs()).toEqual([]);
  });
});

it('the metrics of a coordinator follow runs, workers, queue, steps and checkpoints', async () => {
  const metrics = new CoordinatorMetrics();
  metrics.setRuns({ running: 1, queued: 2 });
  metrics.setRuns({ running: 3 });
  const idle = { role: 'rank', isBusy: false } as const;
  metrics.setWorkers([idle, idle, { role: 'rank', isBusy: true }, { role: 'expertWorker', isBusy: true }]);
  metrics.setQueue({ jobs: ['waiting', 'active', 'waiting'], isPaused: true, oldestWaitSeconds: 9 });
  metrics.setStoreUp(false);
  metrics.setDisk({ free: 10, size: 20 });
  metrics.setOldestHeartbeatAge(1.5);
  metrics.workerLost();
  metrics.generationChanged();
  metrics.stepCommitted({ applied: true });
  metrics.stepCommitted({ applied: false });
  metrics.checkpointWritten({ seconds: 2, bytes: 4096 });
  metrics.eventAppended({ seconds: 0.002 });
  metrics.decided({ seconds: 0.002 });
  expect(Object.fromEntries(await samples(metrics.registry))).toMatchObject({
    'weft_coordinator_runs{status="running"}': 3,
    'weft_coordinator_runs{status="queued"}': 0,
    weft_coordinator_workers_connected: 4,
    weft_coordinator_workers_busy: 2,
    'weft_coordinator_workers{role="rank",state="idle"}': 2,
    'weft_coordinator_workers{role="expertWorker",state="busy"}': 1,
    'weft_coordinator_queue_jobs{state="waiting"}': 2,
    weft_coordinator_queue_paused: 1,
    weft_coordinator_queue_oldest_wait_seconds: 9,
    weft_coordinator_store_up: 0,
    weft_coordinator_leader: 1,
    weft_coordinator_home_free_bytes: 10,
    weft_coordinator_oldest_heartbeat_age_seconds: 1.5,
    weft_coordinator_workers_lost_total: 1,
    weft_coordinator_generation_changes_total: 1,
    weft_coordinator_steps_committed_total: 2,
    weft_coordinator_steps_skipped_total: 1,
    weft_coordinator_checkpoints_written_total: 1,
    weft_coordinator_checkpoint_bytes: 4096,
    'weft_coordinator_checkpoint_seconds_bucket{le="3"}': 1,
    'weft_coordinator_event_append_seconds_bucket{le="0.003"}': 1,
    'weft_coordinator_decision_seconds_bucket{le="0.003"}': 1,
  });
});

describe('the metrics of runs', () => {
  it('come once for each run, with its label, and go with it', async () => {
    const metrics = new CoordinatorMetrics();
    metrics.runs.stepTook('tiny-1', 0.2);
    metrics.runs.set([exampleRun(), exampleRun({ runId: 'tiny-2', status: 'queued', latest: undefined })]);
    metrics.runs.set([exampleRun(), exampleRun({ runId: 'tiny-2', status: 'queued', latest: undefined })]);
    const found = await samples(metrics.registry);
    expect(Object.fromEntries(found)).toMatchObject({
      'weft_run_info{run="tiny-1",recipe="mm1Tiny"}': 1,
      'weft_run_status{run="tiny-1",status="running"}': 1,
      'weft_run_status{run="tiny-1",status="failed"}': 0,
      'weft_run_loss{run="tiny-1"}': 2.25,
      'weft_run_source_loss{run="tiny-1",source="captioned"}': 2,
      'weft_run_held_out_source_loss{run="tiny-1",source="interleaved"}': 3,
      'weft_run_task_score{run="tiny-1",task="coco",shots="8"}': 110.5,
      'weft_run_mfu_ratio{run="tiny-1"}': 0.5,
      'weft_run_planned_sequences{run="tiny-1",source="text"}': 100,
      'weft_run_source_weight_ratio{run="tiny-1",source="captioned"}': 0.5,
      'weft_run_time_seconds_total{run="tiny-1",bucket="computing"}': 12,
      'weft_run_waited_for_seconds_total{run="tiny-1",rank="1"}': 1.5,
      'weft_run_arrival_delay_seconds{run="tiny-1",rank="1"}': 0.25,
      'weft_run_expert_assignments_total{run="tiny-1",layer="1",expert="1"}': 50,
      'weft_run_expert_dropped_ratio{run="tiny-1",layer="1"}': 0.25,
      'weft_run_step_seconds_count{run="tiny-1"}': 1,
      'weft_run_cost{run="tiny-1"}': 1.25,
      'weft_run_spikes_total{run="tiny-1"}': 3,
      'weft_run_median_step_seconds{run="tiny-1"}': 1,
      'weft_run_checkpoint_interval_seconds{run="tiny-1"}': 20,
    });
    expect(found.has('weft_run_loss{run="tiny-2"}')).toBe(false);
    expect(found.get('weft_run_steps{run="tiny-2"}')).toBe(100);
    metrics.runs.forget('tiny-1');
    metrics.runs.set([exampleRun({ runId: 'tiny-2' })]);
    expect([...(await samples(metrics.registry)).keys()].filter((name) => name.includes('run="tiny-1"'))).toEqual([]);
  });

  it('show a loss that was not finite as NaN', async () => {
    const metrics = new CoordinatorMetrics();
    const { latest, ...run } = exampleRun();
    metrics.runs.set([{ ...run, latest: latest && { ...latest, loss: null } }]);
    expect((await samples(metrics.registry)).get('weft_run_loss{run="tiny-1"}')).toBeNaN();
  });
});

describe('the declaration', () => {
  const all: MetricDeclaration[] = [COORDINATOR_METRICS, RUN_METRICS, WORKER_METRICS].flatMap((each) =>
    Object.values(each),
  );

  it('has every name once, with its subject, and units as Prometheus wants them', () => {
    const names = all.map(({ name }) => name);
    expect(names.filter((name) => !/^weft_(coordinator|worker|run)_[a-z_]+$/.test(name))).toEqual([]);
    expect(new Set(names).size).toBe(names.length);
    expect(all.filter(({ name, kind }) => (kind === 'counter') !== name.endsWith('_total'))).toEqual([]);
    const unitOf = ({ name }: MetricDeclaration) => /_(seconds|bytes|ratio|nats)(_total)?$/.exec(name)?.[1];
    expect(all.filter((each) => unitOf(each) !== undefined && unitOf(each) !== each.unit)).toEqual([]);
  });

  it('has labels whose values are bounded, and `run` on all that is about a run and nothing else', () => {
    expect(all.flatMap(({ labels }) => labels).filter((label) => !Object.hasOwn(LABELS, label))).toEqual([]);
    const withRun = all.filter(({ labels }) => labels.includes('run')).map(({ name }) => name);
    expect(withRun).toEqual(all.map(({ name }) => name).filter((name) => name.startsWith('weft_run_')));
  });

  it('is docs/metrics.md', async () => {
    await expect(metricsPage()).toMatchFileSnapshot(
      fileURLToPath(new URL('../../../docs/metrics.md', import.meta.url)),
    );
  });
});
