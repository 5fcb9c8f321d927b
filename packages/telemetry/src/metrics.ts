import { counter, gauge, histogram } from './declare-metric.js';
import { REMOTE_METRICS } from './remote-metrics.js';

/**
 * Every series that Weft exports: the one declaration from which the registries, `docs/metrics.md`, dashboards and rules are made.
 * Units are base units (seconds, bytes, ratio) and part of the name. Labels are few and bounded.
 *
 * `weft_run_*` is about a run: the coordinator exports it, once, with the label `run`. `weft_worker_*` is about the worker that
 * exports it; run, rank, host and role come from discovery (`/sd/workers`) as labels of the target. `weft_coordinator_*` is
 * about the coordinator.
 */

const SECONDS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300];
const CHECKPOINT_SECONDS = [0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000];
const DISK_SECONDS = [0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3];

/** About the coordinator, its workers and its queue. */
export const COORDINATOR_METRICS = {
  build: gauge('weft_coordinator_info', 'build', 'The build of this coordinator; always 1.', [
    'version',
    'node_version',
  ]),
  runs: gauge('weft_coordinator_runs', 'runs', 'Runs by status.', ['status']),
  workersConnected: gauge('weft_coordinator_workers_connected', 'workers', 'Workers with an open stream.'),
  workersBusy: gauge('weft_coordinator_workers_busy', 'workers', 'Workers that take part in a run.'),
  workers: gauge(
    'weft_coordinator_workers',
    'workers',
    'Connected workers by role and by whether they take part in a run.',
    ['role', 'state'],
  ),
  workersLost: counter(
    'weft_coordinator_workers_lost_total',
    'workers',
    'Members of runs whose stream broke or whose heartbeat stayed out.',
  ),
  oldestHeartbeatAge: gauge(
    'weft_coordinator_oldest_heartbeat_age_seconds',
    'seconds',
    'Time since the last sign of life of the connected worker that has been silent the longest.',
  ),
  stepsCommitted: counter('weft_coordinator_steps_committed_total', 'steps', 'Steps committed, skipped ones included.'),
  stepsSkipped: counter(
    'weft_coordinator_steps_skipped_total',
    'steps',
    'Committed steps that were not applied because their gradients were not finite.',
  ),
  generationChanges: counter(
    'weft_coordinator_generation_changes_total',
    'generations',
    'New generations of a ring, at the start of a run and at every change of its members.',
  ),
  checkpointsWritten: counter(
    'weft_coordinator_checkpoints_written_total',
    'checkpoints',
    'Checkpoints whose manifest is on disk.',
  ),
  checkpointDuration: histogram(
    'weft_coordinator_checkpoint_seconds',
    'seconds',
    'Time from the commit of the step that is saved to the manifest on disk.',
    CHECKPOINT_SECONDS,
  ),
  checkpointSize: gauge('weft_coordinator_checkpoint_bytes', 'bytes', 'Size of the newest checkpoint, all shards.'),
  eventAppendDuration: histogram(
    'weft_coordinator_event_append_seconds',
    'seconds',
    'Time to make an event durable.',
    DISK_SECONDS,
  ),
  decisionDuration: histogram(
    'weft_coordinator_decision_seconds',
    'seconds',
    'Time to compute one decision, without what it writes and sends.',
    DISK_SECONDS,
  ),
  queueJobs: gauge('weft_coordinator_queue_jobs', 'jobs', 'Jobs of the queue that have not ended, by state.', [
    'state',
  ]),
  queueOldestWait: gauge(
    'weft_coordinator_queue_oldest_wait_seconds',
    'seconds',
    'How long the run that waits the longest has waited; 0 when none waits.',
  ),
  queuePaused: gauge('weft_coordinator_queue_paused', 'yes or no', '1 while the whole queue is paused, else 0.'),
  storeUp: gauge(
    'weft_coordinator_store_up',
    'yes or no',
    '1 while the store of logs and queue answers, else 0; nothing is decided without it.',
  ),
  leader: gauge(
    'weft_coordinator_leader',
    'yes or no',
    'Always 1: only the coordinator that holds the lease answers here.',
  ),
  diskFree: gauge('weft_coordinator_home_free_bytes', 'bytes', 'Free space of the file system that holds the home.'),
  diskSize: gauge('weft_coordinator_home_size_bytes', 'bytes', 'Size of the file system that holds the home.'),
};

/** About one run, from the coordinator. */
export const RUN_METRICS = {
  info: gauge('weft_run_info', 'run', 'A run; always 1.', ['run', 'recipe']),
  status: gauge('weft_run_status', 'yes or no', '1 for the status that the run has, 0 for the others.', [
    'run',
    'status',
  ]),
  step: gauge('weft_run_step', 'steps', 'The last committed step; it falls when steps are rolled back.', ['run']),
  steps: gauge('weft_run_steps', 'steps', 'The steps that the run is to have at its end.', ['run']),
  stepTime: gauge(
    'weft_run_last_step_timestamp_seconds',
    'seconds',
    'When the last step was committed, since the Unix epoch.',
    ['run'],
  ),
  stepsCommitted: counter(
    'weft_run_steps_committed_total',
    'steps',
    'Steps committed while this coordinator ran, skipped ones and repeated ones included.',
    ['run'],
  ),
  stepsSkipped: counter(
    'weft_run_steps_skipped_total',
    'steps',
    'Of them, those that were not applied because their gradients were not finite.',
    ['run'],
  ),
  stepDuration: histogram(
    'weft_run_step_seconds',
    'seconds',
    'From the commit of a step to that of the next one in the same generation.',
    SECONDS,
    ['run'],
  ),
  medianStep: gauge(
    'weft_run_median_step_seconds',
    'seconds',
    'Median time of the last 21 steps; absent before there are some.',
    ['run'],
  ),
  spikes: counter(
    'weft_run_spikes_total',
    'steps',
    'Steps whose loss or gradient norm lay more than divergence.threshold robust standard deviations over the median of the last 100, while this coordinator ran.',
    ['run'],
  ),
  workers: gauge('weft_run_workers', 'workers', 'Ranks that the run asks for.', ['run']),
  worldSize: gauge('weft_run_world_size', 'workers', 'Ranks that train now; 0 between two rings.', ['run']),
  generation: gauge('weft_run_generation', 'generations', 'Number of the ring.', ['run']),
  workersLost: counter('weft_run_workers_lost_total', 'workers', 'Members that were lost while this coordinator ran.', [
    'run',
  ]),
  ringFailures: counter('weft_run_ring_failures_total', 'rings', 'Rings that broke while this coordinator ran.', [
    'run',
  ]),
  loss: gauge('weft_run_loss', 'nats', 'Mean loss over the text tokens of the last global batch.', ['run']),
  sourceLoss: gauge(
    'weft_run_source_loss',
    'nats',
    'Mean loss over the text tokens of a source in the last step that had some.',
    ['run', 'source'],
  ),
  measure: gauge(
    'weft_run_measure',
    'value',
    'Another measure of the last step, such as the accuracy of a contrastive task.',
    ['run', 'measure'],
  ),
  heldOutLoss: gauge(
    'weft_run_held_out_loss',
    'nats',
    'Last held-out loss, the mean of the sources weighted by the mixture, per text token.',
    ['run'],
  ),
  heldOutSourceLoss: gauge('weft_run_held_out_source_loss', 'nats', 'Last held-out loss of a source, per text token.', [
    'run',
    'source',
  ]),
  taskScore: gauge(
    'weft_run_task_score',
    'score',
    'Last score of a task with a number of shots: 100 CIDEr of captions, per cent of all else.',
    ['run', 'task', 'shots'],
  ),
  learningRate: gauge('weft_run_learning_rate', 'rate', 'Learning rate of the last step.', ['run']),
  gradNorm: gauge('weft_run_grad_norm', 'norm', 'Global L2 norm of the last gradients, before clipping.', ['run']),
  tokensPerSecond: gauge(
    'weft_run_tokens_per_second',
    'tokens per second',
    'Positions of the global batch per second in the last step.',
    ['run'],
  ),
  mfu: gauge(
    'weft_run_mfu_ratio',
    'ratio',
    'Model FLOP/s utilization of the last step: floating point operations of the model per step / (seconds of the step * peak of all devices). Products and attention without a discount for the causal mask, three times the forward pass, nothing for what is computed again (PaLM, Chowdhery et al. 2022, appendix B). The peak is that of the chip table.',
    ['run'],
  ),
  sequences: gauge('weft_run_consumed_sequences', 'sequences', 'Sequences of a source in the steps that count.', [
    'run',
    'source',
  ]),
  plannedSequences: gauge(
    'weft_run_planned_sequences',
    'sequences',
    'Sequences of a source that the run will have consumed at its last step.',
    ['run', 'source'],
  ),
  sourceWeight: gauge('weft_run_source_weight_ratio', 'ratio', 'Share of a source in the mixture, as planned.', [
    'run',
    'source',
  ]),
  tokens: gauge(
    'weft_run_consumed_tokens',
    'tokens',
    'Positions of all sequences in the steps that count, padding included.',
    ['run'],
  ),
  lossTokens: counter(
    'weft_run_loss_tokens_total',
    'tokens',
    'Text tokens under the loss while this coordinator ran.',
    ['run'],
  ),
  checkpointStep: gauge('weft_run_checkpoint_step', 'steps', 'Step of the newest checkpoint; 0 when there is none.', [
    'run',
  ]),
  checkpointTime: gauge(
    'weft_run_checkpoint_timestamp_seconds',
    'seconds',
    'When the newest checkpoint was written, since the Unix epoch; without one since the run has its workers, when its first step was committed.',
    ['run'],
  ),
  checkpointInterval: gauge(
    'weft_run_checkpoint_interval_seconds',
    'seconds',
    'Time between two checkpoints as the run asks for them, by the median of the last steps; absent before there are some.',
    ['run'],
  ),
  checkpointDuration: gauge(
    'weft_run_checkpoint_seconds',
    'seconds',
    'Time of the newest checkpoint from the commit of its step to the manifest on disk.',
    ['run'],
  ),
  checkpointSize: gauge('weft_run_checkpoint_bytes', 'bytes', 'Size of the newest checkpoint, all shards.', ['run']),
  time: counter(
    'weft_run_time_seconds_total',
    'seconds',
    'Time of all workers of the run by what they spent it on. Every second of every worker is in one bucket; waits in the queue count for as many workers as the run asks for.',
    ['run', 'bucket'],
  ),
  goodput: gauge(
    'weft_run_goodput_ratio',
    'ratio',
    'Part of the time after the queue that was spent computing, communicating and evaluating.',
    ['run'],
  ),
  eta: gauge(
    'weft_run_eta_seconds',
    'seconds',
    'Time left until the last step, by the median of the last steps; absent before there are some.',
    ['run'],
  ),
  cost: gauge(
    'weft_run_cost',
    'price units',
    'Price of the worker hours that the run had, where the coordinator has --price-per-worker-hour.',
    ['run'],
  ),
  queuePosition: gauge(
    'weft_run_queue_position',
    'jobs',
    'Place among the waiting jobs, from 1; absent when it does not wait.',
    ['run'],
  ),
  queueWait: gauge(
    'weft_run_queue_wait_seconds',
    'seconds',
    'How long it has waited for its workers this time; 0 when it does not wait.',
    ['run'],
  ),
  arrivalDelay: gauge(
    'weft_run_arrival_delay_seconds',
    'seconds',
    'How long after the first rank this one came to the all-reduce of the last step.',
    ['run', 'rank'],
  ),
  waitedFor: counter(
    'weft_run_waited_for_seconds_total',
    'seconds',
    'How long the others waited in the all-reduce for this rank, which came last.',
    ['run', 'rank'],
  ),
  expertAssignments: counter(
    'weft_run_expert_assignments_total',
    'assignments',
    'Assignments of tokens to an expert, before drops, while this coordinator ran.',
    ['run', 'layer', 'expert'],
  ),
  expertDroppedAssignments: counter(
    'weft_run_expert_dropped_assignments_total',
    'assignments',
    'Assignments over the capacity of their expert, while this coordinator ran.',
    ['run', 'layer', 'expert'],
  ),
  expertDroppedShare: gauge(
    'weft_run_expert_dropped_ratio',
    'ratio',
    'Part of the assignments that were dropped in the last step.',
    ['run', 'layer'],
  ),
  expertImbalance: gauge(
    'weft_run_expert_imbalance_ratio',
    'ratio',
    'Assignments of the busiest expert over those of the average one in the last step.',
    ['run', 'layer'],
  ),
  routerEntropy: gauge('weft_run_router_entropy_nats', 'nats', 'Mean entropy of the router in the last step.', [
    'run',
    'layer',
  ]),
  loadBalanceLoss: gauge(
    'weft_run_load_balance_loss',
    'loss',
    'Load-balance loss of the last step, without its weight; 1 when even.',
    ['run', 'layer'],
  ),
  routerZLoss: gauge('weft_run_router_z_loss', 'loss', 'Router z-loss of the last step, without its weight.', [
    'run',
    'layer',
  ]),
};

/** About one worker, from itself. */
export const WORKER_METRICS = {
  build: gauge('weft_worker_info', 'build', 'The build of this worker; always 1.', ['version', 'node_version']),
  run: gauge('weft_worker_run_info', 'run', 'The run this worker takes part in; always 1, absent when idle.', [
    'run_id',
  ]),
  rank: gauge('weft_worker_rank', 'rank', 'Rank in the ring; -1 when idle, and on an expert worker.'),
  worldSize: gauge('weft_worker_world_size', 'workers', 'Ranks of the ring; 0 when idle.'),
  generation: gauge('weft_worker_generation', 'generations', 'Generation of the ring.'),
  step: gauge('weft_worker_step', 'steps', 'The last step applied or skipped.'),
  stepsApplied: counter('weft_worker_steps_applied_total', 'steps', 'Steps this worker applied.'),
  stepsSkipped: counter('weft_worker_steps_skipped_total', 'steps', 'Steps skipped because gradients were not finite.'),
  stepDuration: histogram('weft_worker_step_seconds', 'seconds', 'Time of a step on this worker, all phases.', SECONDS),
  phaseDuration: histogram(
    'weft_worker_step_phase_seconds',
    'seconds',
    'Time of a step on this worker by phase: data, compute, communication, apply.',
    SECONDS,
    ['phase'],
  ),
  time: counter(
    'weft_worker_time_seconds_total',
    'seconds',
    'Time since the start of this worker by what it was spent on; every second is in one bucket.',
    ['bucket'],
  ),
  sequences: counter('weft_worker_sequences_total', 'sequences', 'Sequences this worker has trained on.', ['source']),
  images: counter('weft_worker_images_total', 'images', 'Images this worker has trained on.', ['source']),
  lossTokens: counter(
    'weft_worker_loss_tokens_total',
    'tokens',
    'Text tokens under the loss that this worker has trained on.',
    ['source'],
  ),
  queuedBatches: gauge(
    'weft_worker_loader_queued_batches',
    'batches',
    'Batches of later steps that were read and waited when the last step took its own; 0 means that the loader is late.',
  ),
  decodedImages: counter(
    'weft_worker_decoded_images_total',
    'images',
    'Images decoded; those from the cache do not count.',
  ),
  decodeTime: counter(
    'weft_worker_decode_seconds_total',
    'seconds',
    'Time of decoding images, reading them included, on all threads.',
  ),
  loaderThreadsReplaced: counter(
    'weft_worker_loader_threads_replaced_total',
    'threads',
    'Loader threads that ended or did not answer, and were replaced.',
  ),
  ...REMOTE_METRICS,
  badSamples: gauge(
    'weft_worker_bad_samples',
    'samples',
    'Samples that are not in the index this worker reads, because something was wrong with them.',
    ['source', 'reason'],
  ),
  checkpointStall: histogram(
    'weft_worker_checkpoint_stall_seconds',
    'seconds',
    'Time in which training stood still to begin a checkpoint.',
    SECONDS,
  ),
  ringSent: counter(
    'weft_worker_ring_sent_bytes_total',
    'bytes',
    'Bytes sent to sum gradients: to the next rank of the ring, or as many between GPUs by NCCL.',
  ),
  ringReceived: counter(
    'weft_worker_ring_received_bytes_total',
    'bytes',
    'Bytes received to sum gradients: from the previous rank of the ring, or as many between GPUs by NCCL.',
  ),
  expertSent: counter('weft_worker_expert_sent_bytes_total', 'bytes', 'Bytes sent to expert workers.'),
  expertReceived: counter('weft_worker_expert_received_bytes_total', 'bytes', 'Bytes received from expert workers.'),
  expertWaiting: counter(
    'weft_worker_expert_waiting_seconds_total',
    'seconds',
    'Time in which nothing was computed because an answer of an expert worker was awaited.',
  ),
  expertIdle: counter(
    'weft_worker_expert_idle_seconds_total',
    'seconds',
    'Time in which an expert worker had nothing to compute in a step.',
  ),
  ringFailures: counter(
    'weft_worker_ring_failures_total',
    'collectives',
    'Collectives that failed because a peer was gone.',
  ),
  reconnects: counter(
    'weft_worker_coordinator_reconnects_total',
    'connections',
    'Times the stream to the coordinator was opened again.',
  ),
};
