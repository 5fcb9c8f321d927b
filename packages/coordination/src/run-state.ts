import { WeftError } from '@weft/common';
import {
  completeData,
  completeModel,
  completeOptimizer,
  DEFAULT_CHECKPOINT,
  DEFAULT_DIVERGENCE,
  DEFAULT_EVALUATION,
  DEFAULT_QUEUE,
  DEFAULT_STRAGGLERS,
  DEFAULT_TASK,
  type RunConfig,
} from '@weft/config';
import { hasEnded, type RunFailure, type RunStatus } from '@weft/contracts';
import type { LedgerRecord } from '@weft/mixture';
import { withRange } from '@weft/topology';
import { learnStall, NO_COSTS, type SaveCosts } from './checkpoint-schedule.js';
import { divergedSince, NO_STEPS, type RecentSteps, remember } from './divergence.js';
import { withMixtureChange } from './mixture-change.js';
import type { CheckpointWritten, Resumed, RolledBack, RunRecord } from './records.js';

/** How many workers of each role. */
export interface WorkerCounts {
  readonly workers: number;
  readonly expertWorkers: number;
}

/** The decision about a step, for those of its ranks that did not receive it. */
export interface LastCommit {
  readonly generation: number;
  readonly apply: boolean;
  readonly gradNorm: number;
  readonly lossTokens: number;
}

/**
 * The state of a run from its log: everything that a restarted coordinator knows of it. `RUN_STATE_VERSION` of `@weft/contracts`
 * grows when its fields change.
 */
export interface RunState {
  readonly runId: string;
  /** `workers` and `steps` as the last resume left them. */
  readonly config: RunConfig;
  readonly status: RunStatus;
  /** Why it has this status, one sentence without its full stop. */
  readonly reason: string;
  /** The last committed step; 0 before the first. */
  readonly step: number;
  /** The last step that was ever committed, also when it was rolled back later; 0 before the first. */
  readonly furthestStep: number;
  /** The newest generation; 0 before the first. It never goes back. */
  readonly generation: number;
  /** Step of the newest checkpoint; 0 when there is none. */
  readonly checkpointStep: number;
  /** The checkpoints that should be on disk, oldest first: the last `checkpoint.keepLast` that were written, and those kept for good. */
  readonly checkpoints: readonly KnownCheckpoint[];
  /** What the last generation trained on; undefined before the first, and after a resume by hand. */
  readonly lastWorkers: WorkerCounts | undefined;
  /** Who made up the newest generation. */
  readonly lastMembers: Members;
  /** The members of the generation that committed the last step: what they have in memory is the state after it. */
  readonly heldBy: Members;
  /** The changes of the mixture that the members of the newest generation know of. */
  readonly knownChanges: RunConfig['data']['mixtureChanges'];
  /** The first generation since the run was last rolled back: what older ones hold in memory is not the state of this log. */
  readonly firstGeneration: number;
  /** How the last step was decided; undefined before the first, and after the run was rolled back. */
  readonly lastCommit: LastCommit | undefined;
  /** By which `checkpoint.everyMinutes` decides when to save. */
  readonly saveCosts: SaveCosts;
  /** Loss of the last committed step; null before the first, and where it was not finite. */
  readonly loss: number | null;
  /** How many of the last steps were skipped in a row, because their gradients were not finite, or spikes. */
  readonly skippedInARow: number;
  /** By which a spike of the loss is told from noise. */
  readonly recent: RecentSteps;
  /** How often it went back before spikes in a row, and the last step it had come to; undefined once it is well past that. */
  readonly rolledBack: { readonly times: number; readonly step: number } | undefined;
  /** Why it failed; of a queued run, why its last attempt failed. */
  readonly failure: RunFailure | undefined;
  /** The sweep it belongs to. */
  readonly parent: string | null;
  /** Attempts that failed since it was launched or resumed by hand. */
  readonly failedAttempts: number;
  /** How often it was resumed by hand after its end. */
  readonly resubmissions: number;
  /** It was running and lost all its workers or its coordinator, which may come back in a moment. */
  readonly isInterrupted: boolean;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
}

/** Who made up a generation: workerIds of the ranks, and of the expert workers by number. */
export interface Members {
  readonly ranks: readonly string[];
  readonly experts: readonly string[];
  /** The number of the expert worker that keeps the copy of each one's experts; empty: there are no copies. */
  readonly expertCopies: readonly number[];
}

const NOBODY: Members = { ranks: [], experts: [], expertCopies: [] };

/** A checkpoint as the log has it. */
export interface KnownCheckpoint {
  readonly step: number;
  readonly directory: string;
  /** SHA-256 of its manifest; absent: unknown. */
  readonly manifestSha256?: string;
}

/**
 * The state after one more record.
 *
 * @throws WeftError `corrupt_data` when the record cannot follow: a log starts with `launched`, and steps have no gap.
 */
export function applyRecord(state: RunState | undefined, record: RunRecord): RunState {
  const updatedAtMs = Date.parse(record.time);
  if (state === undefined) {
    if (record.kind !== 'launched')
      throw new WeftError('corrupt_data', `the log of a run begins with "${record.kind}" instead of "launched"`);
    return {
      runId: record.runId,
      config: completeConfig(record.config),
      status: 'queued',
      reason: 'it was launched',
      step: 0,
      furthestStep: 0,
      generation: 0,
      checkpointStep: 0,
      checkpoints: [],
      lastWorkers: undefined,
      lastMembers: NOBODY,
      heldBy: NOBODY,
      knownChanges: [],
      firstGeneration: 1,
      lastCommit: undefined,
      saveCosts: NO_COSTS,
      loss: null,
      skippedInARow: 0,
      recent: NO_STEPS,
      rolledBack: undefined,
      failure: undefined,
      parent: record.parent ?? null,
      failedAttempts: 0,
      resubmissions: 0,
      isInterrupted: false,
      createdAtMs: updatedAtMs,
      updatedAtMs,
    };
  }
  return { ...state, saveCosts: saveCosts(state, record), ...change(state, record), updatedAtMs };
}

function saveCosts(state: RunState, record: RunRecord): SaveCosts {
  const { saveCosts: before, status, updatedAtMs, isInterrupted } = state;
  const nowMs = Date.parse(record.time);
  const trainedMs = before.trainedMs + (status === 'running' ? Math.max(0, nowMs - updatedAtMs) : 0);
  const interrupted = (isInterruption: boolean) => before.interruptions + (isInterruption ? 1 : 0);
  // Its workers came back with its state, so that nothing was lost after all.
  const returned = { ...before, interruptions: before.interruptions - (isInterrupted ? 1 : 0) };
  switch (record.kind) {
    case 'checkpointWritten':
      return {
        ...before,
        trainedMs,
        savedAtMs: nowMs,
        stallSeconds: learnStall(before.stallSeconds, record.stallSeconds),
      };
    case 'assigned':
      // What is in memory was not saved.
      return record.state === 'keep' ? returned : { ...before, savedAtMs: nowMs };
    case 'continued':
      return returned;
    case 'requeued':
      return { ...before, trainedMs, interruptions: interrupted(isInterruption(record)) };
    case 'attemptFailed':
    case 'rolledBack':
      return { ...before, trainedMs, interruptions: interrupted(true) };
    default:
      return { ...before, trainedMs };
  }
}

/** Whether steps may be lost: its workers were, or its coordinator was. */
function isInterruption({ yieldedTo, isSaved }: Extract<RunRecord, { kind: 'requeued' }>): boolean {
  return yieldedTo === undefined && isSaved !== true;
}

/** Configurations in logs of older versions lack what came later. */
function completeConfig(config: RunConfig): RunConfig {
  const older: Partial<RunConfig> = config;
  const divergence = { ...DEFAULT_DIVERGENCE, ...older.divergence };
  const checkpoint = { ...DEFAULT_CHECKPOINT, ...config.checkpoint };
  const stragglers = { ...DEFAULT_STRAGGLERS, ...older.stragglers };
  const { expertWorkers = 0, expertCopies = 'auto', minWorkers = null, task = DEFAULT_TASK } = older;
  const queue = { ...DEFAULT_QUEUE, ...older.queue };
  const evaluation = { ...DEFAULT_EVALUATION, ...older.evaluation };
  const model = completeModel(config.model);
  const data = completeData(config.data);
  const optimizer = completeOptimizer(config.optimizer);
  return {
    ...config,
    divergence,
    stragglers,
    checkpoint,
    task,
    model,
    queue,
    expertWorkers,
    expertCopies,
    minWorkers,
    evaluation,
    data,
    optimizer,
  };
}

function change(state: RunState, record: RunRecord): Partial<RunState> {
  switch (record.kind) {
    case 'launched':
      throw new WeftError('corrupt_data', `the log of run ${state.runId} launches it twice`);
    case 'assigned':
      return {
        generation: record.generation,
        lastWorkers: { workers: record.workers.length, expertWorkers: record.expertWorkers?.length ?? 0 },
        lastMembers: {
          ranks: record.workers.map(({ workerId }) => workerId),
          experts: (record.expertWorkers ?? []).map(({ workerId }) => workerId),
          expertCopies: record.expertCopies ?? [],
        },
        knownChanges: state.config.data.mixtureChanges,
        status: state.status === 'stopping' ? 'stopping' : 'running',
        failure: undefined,
        isInterrupted: false,
        ...(record.precision === undefined ? {} : { config: { ...state.config, precision: record.precision } }),
      };
    case 'committed': {
      const { step, applied, loss } = record.entry;
      if (step !== state.step + 1)
        throw new WeftError(
          'corrupt_data',
          `the log of run ${state.runId} commits step ${step} after step ${state.step}`,
        );
      const furthestStep = Math.max(state.furthestStep, step);
      const { gradNorm, sourceLoss, spike } = record;
      const recent = remember(state.recent, { step, loss: loss ?? Number.NaN, gradNorm, applied, sourceLoss }, spike);
      const rolledBack = isPast(state.rolledBack, step) ? undefined : state.rolledBack;
      // A step without targets says nothing of the model.
      const isEmpty = record.lossTokens === 0;
      const skippedInARow = applied ? 0 : state.skippedInARow + (isEmpty ? 0 : 1);
      const { generation } = record.entry;
      // A norm that was not finite belongs to a step that is not applied, where nobody reads it.
      const lastCommit = { generation, apply: applied, gradNorm: gradNorm ?? 0, lossTokens: record.lossTokens };
      return { step, furthestStep, loss, skippedInARow, recent, rolledBack, lastCommit, heldBy: state.lastMembers };
    }
    case 'checkpointWritten':
      return { checkpointStep: record.step, checkpoints: withCheckpoint(state, knownOf(record)) };
    case 'workerLost':
    case 'ringBroke':
    case 'hung':
    case 'straggler':
      return {};
    case 'requeued':
      return { status: 'queued', reason: record.reason, isInterrupted: isInterruption(record) };
    case 'continued':
      return { status: 'running', failure: undefined, isInterrupted: false };
    case 'attemptFailed':
      return {
        status: 'queued',
        reason: `attempt ${record.attempt} of ${record.maxAttempts} failed`,
        failure: record.failure,
        failedAttempts: record.attempt,
      };
    case 'resumed':
      return resumed(state, record);
    case 'rolledBack':
      return rolledBack(state, record);
    case 'mixtureChanged':
      return { config: { ...state.config, data: withMixtureChange(state.config.data, record.change) } };
    case 'stopRequested':
      return { status: 'stopping', reason: 'it was asked to stop' };
    case 'stopped':
      return { status: 'stopped', reason: record.reason, isInterrupted: false };
    case 'finished': {
      const since = divergedSince(state);
      const diverged = since === undefined ? '' : `, but it has diverged since step ${since}`;
      const reason = `all ${record.step} steps are trained and their checkpoint is written${diverged}`;
      return { status: 'finished', reason, failure: undefined, isInterrupted: false };
    }
    case 'failed': {
      const { failure } = record;
      const failedAttempts = state.failedAttempts + 1;
      return { status: 'failed', reason: failure.message, failure, failedAttempts, isInterrupted: false };
    }
  }
}

function resumed(state: RunState, record: Resumed): Partial<RunState> {
  const { fromStep, checkpointDirectory, workers, steps } = record;
  const { expertWorkers = state.config.expertWorkers, engine = state.config.engine } = record;
  const { checkpoint = state.config.checkpoint, divergence = state.config.divergence } = record;
  const { data = state.config.data } = record;
  if (fromStep > state.step)
    throw new WeftError(
      'corrupt_data',
      `the log of run ${state.runId} resumes from step ${fromStep}, but ends at step ${state.step}`,
    );
  const { minWorkers } = state.config;
  const isSameSize = workers === state.config.workers && expertWorkers === state.config.expertWorkers;
  return {
    status: 'queued',
    reason: record.reason,
    ...(hasEnded(state) ? { resubmissions: state.resubmissions + 1, failedAttempts: 0, failure: undefined } : {}),
    step: fromStep,
    loss: fromStep === state.step ? state.loss : null,
    checkpointStep: fromStep,
    firstGeneration: state.generation + 1,
    lastCommit: undefined,
    checkpoints: checkpointDirectory === null ? [] : withCheckpoint(state, known(state, fromStep, checkpointDirectory)),
    lastWorkers: hasEnded(state) || !isSameSize ? undefined : state.lastWorkers,
    skippedInARow: 0,
    // What was usual before a spike is usual after it.
    recent: hasEnded(state) ? NO_STEPS : { ...state.recent, spikingSince: null },
    rolledBack: hasEnded(state) ? undefined : state.rolledBack,
    config: {
      ...state.config,
      workers,
      minWorkers: minWorkers === null ? null : Math.min(minWorkers, workers),
      steps,
      expertWorkers,
      engine,
      checkpoint,
      divergence,
      data: completeData(data),
    },
  };
}

function knownOf({ step, directory, manifestSha256 }: CheckpointWritten): KnownCheckpoint {
  return { step, directory, ...(manifestSha256 === undefined ? {} : { manifestSha256 }) };
}

/** A checkpoint by its step, with what the log says of it. */
function known({ checkpoints }: RunState, step: number, directory: string): KnownCheckpoint {
  return checkpoints.find((checkpoint) => checkpoint.step === step) ?? { step, directory };
}

function rolledBack(state: RunState, { step, toStep, skipped, reason }: RolledBack): Partial<RunState> {
  const { config, checkpoints, rolledBack: before } = state;
  const skippedBatches = withRange(config.data.skippedBatches, skipped.batches);
  const left = checkpoints.filter((checkpoint) => checkpoint.step <= toStep);
  return {
    status: 'queued',
    reason,
    step: toStep,
    loss: null,
    checkpointStep: left.at(-1)?.step ?? 0,
    checkpoints: left,
    skippedInARow: 0,
    recent: { ...state.recent, spikingSince: null },
    rolledBack: { times: (before?.times ?? 0) + 1, step: Math.max(step, before?.step ?? 0) },
    isInterrupted: true,
    firstGeneration: state.generation + 1,
    lastCommit: undefined,
    config: { ...config, data: { ...config.data, skippedBatches } },
  };
}

/** So many steps after a spike that a run went back before, the next one is another. */
const PAST_STEPS = 100;

const isPast = (before: RunState['rolledBack'], step: number) =>
  before !== undefined && step > before.step + PAST_STEPS;

/** The checkpoints that should be on disk once this one is the newest. */
function withCheckpoint({ checkpoints, config }: RunState, newest: KnownCheckpoint): RunState['checkpoints'] {
  const { keepLast, keepEvery } = config.checkpoint;
  const all = [...checkpoints.filter(({ step }) => step < newest.step), newest];
  return all.filter(({ step }, at) => at >= all.length - keepLast || (keepEvery > 0 && step % keepEvery === 0));
}

/**
 * The state a log describes.
 *
 * @throws WeftError `corrupt_data` when the log is empty or its lines do not follow one another.
 */
export function replay(records: Iterable<RunRecord>): RunState {
  let state: RunState | undefined;
  for (const record of records) state = applyRecord(state, record);
  if (state === undefined) throw new WeftError('corrupt_data', 'the log of a run is empty');
  return state;
}

const KINDS: Readonly<Record<RunRecord['kind'], true>> = {
  launched: true,
  assigned: true,
  committed: true,
  checkpointWritten: true,
  workerLost: true,
  ringBroke: true,
  hung: true,
  straggler: true,
  requeued: true,
  continued: true,
  attemptFailed: true,
  resumed: true,
  rolledBack: true,
  mixtureChanged: true,
  stopRequested: true,
  stopped: true,
  finished: true,
  failed: true,
};

/**
 * A parsed line of `events.jsonl` as a record.
 *
 * @throws WeftError `corrupt_data` for anything but a record of a kind this version knows.
 */
export function parseRunRecord(value: unknown): RunRecord {
  const kind = typeof value === 'object' && value !== null && 'kind' in value ? value.kind : undefined;
  if (typeof kind === 'string' && Object.hasOwn(KINDS, kind)) return withHint(value as RunRecord);
  throw new WeftError('corrupt_data', `a line of a run's log has the unknown kind ${JSON.stringify(kind)}`, {
    hint: 'use the version of Weft that wrote it, or a newer one',
  });
}

/** Logs of version 0.1 call the hint of a failure `cure`. */
function withHint(record: RunRecord): RunRecord {
  if (!('failure' in record) || !('cure' in record.failure)) return record;
  const { cure, ...failure } = record.failure;
  return { ...record, failure: { ...failure, hint: typeof cure === 'string' ? cure : null } };
}

/** The records of a log from which `Ledger.fold` of `@weft/mixture` computes the consumed sequences. */
export function* ledgerRecords(records: Iterable<RunRecord>): Generator<LedgerRecord> {
  for (const record of records)
    if (record.kind === 'committed' || record.kind === 'resumed' || record.kind === 'rolledBack') yield record;
}
