import { readFileSync } from 'node:fs';
import { DEFAULT_SOURCES } from '@weft/common';
import { Registry } from 'prom-client';
import { describe, expect, it } from 'vitest';
import { CoordinatorMetrics } from './coordinator-metrics.js';
import { coordinatorSeries, workerSeries } from './metrics.js';
import { type StepMeasurements, WorkerMetrics } from './worker-metrics.js';

const step = (changes: Partial<StepMeasurements> = {}): StepMeasurements => ({
  step: 7,
  loss: 2.5,
  learningRate: 3e-4,
  gradNorm: 1.25,
  applied: true,
  tokensPerSecond: 2048,
  sequences: { captioned: 4, interleaved: 3, text: 1 },
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
    const found = await samples(metrics.registry);
    expect(found.get('weft_worker_step_phase_seconds_count{phase="apply"}')).toBe(0);
    expect(found.get('weft_worker_rank')).toBe(-1);
    expect([...found.keys()].filter((name) => name.startsWith('weft_worker_run_info'))).toEqual([]);
    metrics.joinedRun({ runId: 'tiny-1', rank: 0, worldSize: 1, generation: 1, sources: [...DEFAULT_SOURCES, 'art'] });
    const ofRun = await samples(metrics.registry);
    expect(ofRun.get('weft_run_sequences_total{source="interleaved"}')).toBe(0);
    expect(ofRun.get('weft_run_sequences_total{source="art"}')).toBe(0);
    expect(found.get(`weft_worker_info{version="0.1.0",node_version="${process.version}"}`)).toBe(1);
  });

  it('show the load of the experts by layer, and assignments by expert', async () => {
    const metrics = new WorkerMetrics();
    const losses = { routerEntropy: 1.5, loadBalanceLoss: 1.1, routerZLoss: 3 };
    const layers = [
      { layer: 1, tokens: 4, routed: [3, 5], dropped: [0, 2], droppedShare: 0.25, imbalance: 1.25, ...losses },
    ];
    const experts = { layers, bytesSent: 10, bytesReceived: 20, waitingSeconds: 0.5 };
    for (const number of [1, 2]) metrics.stepDone(step({ step: number, moe: experts }));
    expect(Object.fromEntries(await samples(metrics.registry))).toMatchObject({
      'weft_run_expert_assignments_total{layer="1",expert="1"}': 10,
      'weft_run_expert_dropped_assignments_total{layer="1",expert="1"}': 4,
      'weft_run_expert_dropped_ratio{layer="1"}': 0.25,
      'weft_run_expert_imbalance_ratio{layer="1"}': 1.25,
      'weft_run_router_entropy_nats{layer="1"}': 1.5,
      weft_worker_expert_sent_bytes_total: 20,
      weft_worker_expert_received_bytes_total: 40,
      weft_worker_expert_waiting_seconds_total: 1,
    });
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
      weft_worker_expert_idle_seconds_total: 0.25,
    });
  });

  it('follow the steps', async () => {
    const metrics = new WorkerMetrics();
    metrics.joinedRun({ runId: 'tiny-1', rank: 1, worldSize: 2, generation: 3, sources: DEFAULT_SOURCES });
    metrics.stepDone(step());
    metrics.stepDone(step({ step: 8, applied: false, loss: 2.25 }));
    metrics.evaluated({ loss: 2.75, sources: { captioned: 2.5, interleaved: 3, text: null } });
    metrics.ringFailed();
    metrics.coordinatorReconnected();
    expect(Object.fromEntries(await samples(metrics.registry))).toMatchObject({
      'weft_worker_run_info{run_id="tiny-1"}': 1,
      weft_worker_rank: 1,
      weft_worker_world_size: 2,
      weft_worker_generation: 3,
      weft_worker_step: 8,
      weft_run_loss: 2.25,
      weft_run_held_out_loss: 2.75,
      'weft_run_held_out_source_loss{source="interleaved"}': 3,
      weft_run_learning_rate: 3e-4,
      weft_run_grad_norm: 1.25,
      weft_run_tokens_per_second: 2048,
      weft_worker_steps_applied_total: 1,
      weft_worker_steps_skipped_total: 1,
      'weft_run_sequences_total{source="captioned"}': 8,
      'weft_run_sequences_total{source="text"}': 2,
      'weft_worker_step_phase_seconds_sum{phase="compute"}': 0.8,
      'weft_worker_step_phase_seconds_bucket{le="0.003",phase="data"}': 2,
      weft_worker_ring_sent_bytes_total: 2000,
      weft_worker_ring_received_bytes_total: 1800,
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

it('the metrics of a coordinator follow runs, workers, steps and checkpoints', async () => {
  const metrics = new CoordinatorMetrics();
  metrics.setRuns({ running: 1, queued: 2 });
  metrics.setRuns({ running: 3 });
  metrics.setWorkers({ connected: 4, busy: 2 });
  metrics.setOldestHeartbeatAge(1.5);
  metrics.workerLost();
  metrics.generationChanged();
  metrics.stepCommitted({ applied: true });
  metrics.stepCommitted({ applied: false });
  metrics.checkpointWritten({ seconds: 2, bytes: 4096 });
  metrics.eventAppended({ seconds: 0.002 });
  expect(Object.fromEntries(await samples(metrics.registry))).toMatchObject({
    'weft_coordinator_runs{status="running"}': 3,
    'weft_coordinator_runs{status="queued"}': 0,
    weft_coordinator_workers_connected: 4,
    weft_coordinator_workers_busy: 2,
    weft_coordinator_oldest_heartbeat_age_seconds: 1.5,
    weft_coordinator_workers_lost_total: 1,
    weft_coordinator_generation_changes_total: 1,
    weft_coordinator_steps_committed_total: 2,
    weft_coordinator_steps_skipped_total: 1,
    weft_coordinator_checkpoints_written_total: 1,
    weft_coordinator_checkpoint_bytes: 4096,
    'weft_coordinator_checkpoint_seconds_bucket{le="3"}': 1,
    'weft_coordinator_event_append_seconds_bucket{le="0.003"}': 1,
  });
});

describe('the names', () => {
  const everySeries = [coordinatorSeries, workerSeries].flatMap((make) => {
    const registry = new Registry();
    make(registry);
    return registry.getMetricsAsArray().map(({ name }) => name);
  });

  it('begin with weft_ and are used once', () => {
    expect(everySeries.filter((name) => !/^weft_(coordinator|worker|run)_[a-z_]+$/.test(name))).toEqual([]);
    expect(new Set(everySeries).size).toBe(everySeries.length);
  });

  it('are all in the design page', () => {
    const page = readFileSync(new URL('../../../docs/design/telemetry.md', import.meta.url), 'utf8');
    expect(everySeries.filter((name) => !page.includes(`\`${name}`))).toEqual([]);
  });
});
