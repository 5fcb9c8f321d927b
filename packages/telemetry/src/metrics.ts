import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/**
 * Every metric of Weft: name, meaning, labels. Units are base units (seconds, bytes, ratio) and part of the name.
 * Labels are few and closed; rank, run and host are told apart by the scraped process and its info metrics.
 * `weft_worker_*` is about the worker that reports it. `weft_run_*` is about its whole run: all ranks report the same, so
 * take `max by (...)`, never `sum`.
 */

const STEP_BUCKETS_SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100];
const CHECKPOINT_BUCKETS_SECONDS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000];
const DISK_BUCKETS_SECONDS = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];

export function coordinatorSeries(registry: Registry) {
  const { gauge, counter, histogram } = seriesIn(registry);
  return {
    build: gauge('weft_coordinator_info', 'The build of this coordinator; always 1.', ['version', 'node_version']),
    runs: gauge('weft_coordinator_runs', 'Runs by status.', ['status']),
    workersConnected: gauge('weft_coordinator_workers_connected', 'Workers with an open stream.'),
    workersBusy: gauge('weft_coordinator_workers_busy', 'Workers that hold a rank of a run.'),
    workersLost: counter(
      'weft_coordinator_workers_lost_total',
      'Workers whose stream broke or whose heartbeat stayed out.',
    ),
    oldestHeartbeatAge: gauge(
      'weft_coordinator_oldest_heartbeat_age_seconds',
      'Time since the last sign of life of the connected worker that has been silent the longest.',
    ),
    stepsCommitted: counter('weft_coordinator_steps_committed_total', 'Steps committed, skipped ones included.'),
    stepsSkipped: counter(
      'weft_coordinator_steps_skipped_total',
      'Committed steps that were not applied because their gradients were not finite.',
    ),
    generationChanges: counter(
      'weft_coordinator_generation_changes_total',
      'New generations of a ring, at the start of a run and at every change of its members.',
    ),
    checkpointsWritten: counter('weft_coordinator_checkpoints_written_total', 'Checkpoints whose manifest is on disk.'),
    checkpointDuration: histogram(
      'weft_coordinator_checkpoint_seconds',
      'Time from the commit of the step that is saved to the manifest on disk.',
      CHECKPOINT_BUCKETS_SECONDS,
    ),
    checkpointSize: gauge('weft_coordinator_checkpoint_bytes', 'Size of the newest checkpoint, all shards.'),
    eventAppendDuration: histogram(
      'weft_coordinator_event_append_seconds',
      'Time to make an event durable.',
      DISK_BUCKETS_SECONDS,
    ),
  };
}

export function workerSeries(registry: Registry) {
  const { gauge, counter, histogram } = seriesIn(registry);
  return {
    build: gauge('weft_worker_info', 'The build of this worker; always 1.', ['version', 'node_version']),
    run: gauge('weft_worker_run_info', 'The run this worker takes part in; always 1, absent when idle.', ['run_id']),
    rank: gauge('weft_worker_rank', 'Rank in the ring; -1 when idle, and on an expert worker.'),
    worldSize: gauge('weft_worker_world_size', 'Ranks of the ring; 0 when idle.'),
    generation: gauge('weft_worker_generation', 'Generation of the ring.'),
    step: gauge('weft_worker_step', 'The last step applied or skipped.'),
    loss: gauge('weft_run_loss', 'Mean loss over the text tokens of the last global batch, in nats.'),
    heldOutLoss: gauge(
      'weft_run_held_out_loss',
      'Last held-out loss, the mean of the sources weighted by the mixture, in nats per text token.',
    ),
    heldOutSourceLoss: gauge(
      'weft_run_held_out_source_loss',
      'Last held-out loss of a source, in nats per text token.',
      ['source'],
    ),
    learningRate: gauge('weft_run_learning_rate', 'Learning rate of the last step.'),
    gradNorm: gauge('weft_run_grad_norm', 'Global L2 norm of the last gradients, before clipping.'),
    tokensPerSecond: gauge(
      'weft_run_tokens_per_second',
      'Positions of the global batch per second in the last step, of the whole run.',
    ),
    stepsApplied: counter('weft_worker_steps_applied_total', 'Steps this worker applied.'),
    stepsSkipped: counter('weft_worker_steps_skipped_total', 'Steps skipped because gradients were not finite.'),
    sequences: counter('weft_run_sequences_total', 'Sequences the whole run consumed while this worker took part.', [
      'source',
    ]),
    phaseDuration: histogram(
      'weft_worker_step_phase_seconds',
      'Time of a step by phase: data, compute, communication, apply.',
      STEP_BUCKETS_SECONDS,
      ['phase'],
    ),
    ringSent: counter('weft_worker_ring_sent_bytes_total', 'Bytes sent to the next rank of the ring.'),
    ringReceived: counter(
      'weft_worker_ring_received_bytes_total',
      'Bytes received from the previous rank of the ring.',
    ),
    expertAssignments: counter(
      'weft_run_expert_assignments_total',
      'Assignments of tokens to an expert, before drops, of the whole run while this worker took part.',
      ['layer', 'expert'],
    ),
    expertDroppedAssignments: counter(
      'weft_run_expert_dropped_assignments_total',
      'Assignments over the capacity of their expert, of the whole run while this worker took part.',
      ['layer', 'expert'],
    ),
    expertDroppedShare: gauge(
      'weft_run_expert_dropped_ratio',
      'Part of the assignments that were dropped in the last step.',
      ['layer'],
    ),
    expertImbalance: gauge(
      'weft_run_expert_imbalance_ratio',
      'Assignments of the busiest expert over those of the average one in the last step.',
      ['layer'],
    ),
    routerEntropy: gauge('weft_run_router_entropy_nats', 'Mean entropy of the router in the last step.', ['layer']),
    loadBalanceLoss: gauge(
      'weft_run_load_balance_loss',
      'Load-balance loss of the last step, without its weight; 1 when even.',
      ['layer'],
    ),
    routerZLoss: gauge('weft_run_router_z_loss', 'Router z-loss of the last step, without its weight.', ['layer']),
    expertSent: counter('weft_worker_expert_sent_bytes_total', 'Bytes sent to expert workers.'),
    expertReceived: counter('weft_worker_expert_received_bytes_total', 'Bytes received from expert workers.'),
    expertWaiting: counter(
      'weft_worker_expert_waiting_seconds_total',
      'Time in which nothing was computed because an answer of an expert worker was awaited.',
    ),
    expertIdle: counter(
      'weft_worker_expert_idle_seconds_total',
      'Time in which an expert worker had nothing to compute in a step.',
    ),
    ringFailures: counter('weft_worker_ring_failures_total', 'Collectives that failed because a peer was gone.'),
    reconnects: counter(
      'weft_worker_coordinator_reconnects_total',
      'Times the stream to the coordinator was opened again.',
    ),
  };
}

function seriesIn(registry: Registry) {
  const registers = [registry];
  return {
    gauge: <Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) =>
      new Gauge<Label>({ name, help, labelNames, registers }),
    counter: <Label extends string = never>(name: string, help: string, labelNames: readonly Label[] = []) =>
      new Counter<Label>({ name, help, labelNames, registers }),
    histogram: <Label extends string = never>(
      name: string,
      help: string,
      buckets: readonly number[],
      labelNames: readonly Label[] = [],
    ) => new Histogram<Label>({ name, help, labelNames, buckets: [...buckets], registers }),
  };
}
