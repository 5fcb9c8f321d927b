import { isDeepStrictEqual } from 'node:util';
import { WeftError } from '@weft/common';
import { applyResumeSettings, type RunConfig, resolveRunConfig } from '@weft/config';
import { hasEnded } from '@weft/contracts';
import { batchOfStep } from '@weft/topology';
import { memberIds } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import { refuseShortage } from './memory.js';
import { mixtureAt, withMixtureChange } from './mixture-change.js';
import { newVersion } from './mixture-requests.js';
import { explainMissingCheckpoints, resumeFrom } from './recovery.js';
import type { RunState } from './run-state.js';
import { stopNow } from './run-termination.js';
import { fewestWorkers } from './scheduling.js';

/**
 * Queues a new run. It starts when enough workers are idle.
 * @throws WeftError `failed_precondition` when enough are connected, but their memory cannot hold it
 */
export function launch(builder: DecisionBuilder, event: EventOf<'launch'>): string {
  const { runId, config, weftVersion, parent } = event;
  if (builder.findRun(runId) !== undefined)
    throw new WeftError('already_exists', `there is already a run ${runId}`, { hint: 'launch again' });
  const { minWorkers, workers, expertWorkers } = config;
  // A sweep is launched whole: a run of it that does not fit waits for larger workers.
  if (parent === undefined) refuseShortage(builder, config, { workers: minWorkers ?? workers, expertWorkers });
  const ofSweep = parent === undefined ? {} : { parent };
  const state = builder.record(runId, { kind: 'launched', runId, config, weftVersion, ...ofSweep });
  builder.command({ kind: 'writeConfig', runId, config });
  const startState = { step: 0, directory: undefined };
  builder.setLive(runId, { state: 'waiting', sinceMs: builder.nowMs, startState, reservedUntilMs: undefined });
  builder.queue.add(state, builder.nowMs);
  return `run ${runId} is launched`;
}

/**
 * Queues a run again, to go on from its newest checkpoint. For a queued run it only changes the configuration.
 *
 * @throws WeftError `failed_precondition` when the run has workers or nothing left to do, or when its checkpoints are
 *   missing and `fromStep` is not given, or the connected workers lack memory; `invalid_argument` for invalid workers or steps.
 */
export function resume(builder: DecisionBuilder, event: EventOf<'resume'>): string {
  const { runId, found, fromStep } = event;
  const { state } = builder.run(runId);
  const config = changeConfig(state, event, fromStep ?? found.checkpoint?.step ?? 0);
  const isChanged = config !== state.config || fromStep !== undefined;
  if (state.status === 'running' && !isChanged) return `run ${runId} is already running`;
  if (state.status === 'running' || state.status === 'stopping')
    throw new WeftError('failed_precondition', `run ${runId} is ${state.status}`, {
      hint: `stop it with \`weft stop ${runId}\`, wait until it has stopped, and resume then`,
    });
  if (state.status === 'queued' && !isChanged) return `run ${runId} is already queued`;
  if (state.status === 'finished' && config.steps <= (fromStep ?? state.step))
    throw new WeftError('failed_precondition', `run ${runId} has finished all its ${state.step} steps`, {
      hint: `give a larger total with \`weft resume ${runId} --steps N\``,
    });
  const checkpointStep = found.checkpoint?.step ?? 0;
  if (config.steps < checkpointStep)
    throw new WeftError(
      'invalid_argument',
      `steps ${config.steps} lies before the newest checkpoint of run ${runId}, step ${checkpointStep}`,
      { hint: `ask for at least ${checkpointStep + 1} steps` },
    );
  if (fromStep !== undefined && fromStep > state.step)
    throw new WeftError(
      'invalid_argument',
      `the log of run ${runId} ends at step ${state.step}, before step ${fromStep}`,
    );
  const failure = fromStep === undefined ? explainMissingCheckpoints(state, found) : undefined;
  if (failure !== undefined) throw new WeftError(failure.code, failure.message, { hint: failure.hint });
  refuseShortage(builder, config, fewestWorkers({ ...state, config }));
  if (config !== state.config) builder.command({ kind: 'writeConfig', runId, config });
  if (fromStep !== undefined) builder.command({ kind: 'setAsideCheckpoints', runId, afterStep: fromStep });
  return resumeFrom(builder, runId, found, config, fromStep);
}

/**
 * The configuration with the changes of the request; the same object when nothing changes. Other weights, and another version of
 * the index, hold from the next step on.
 *
 * @param step the one that the run goes on from
 * @throws WeftError `invalid_argument` as the rules of the configuration say.
 */
function changeConfig({ config }: RunState, event: EventOf<'resume'>, step: number): RunConfig {
  const { workers = config.workers, steps = config.steps, expertWorkers = config.expertWorkers, settings = [] } = event;
  const isSame = workers === config.workers && steps === config.steps && expertWorkers === config.expertWorkers;
  if (isSame && settings.length === 0) return config;
  const minWorkers = config.minWorkers === null ? null : Math.min(config.minWorkers, workers);
  const now = mixtureAt(config.data, batchOfStep(step + 1, config.data.skippedBatches));
  // As if the run began here: the changes of its mixture are those of the whole run, and come back with the new one.
  const data = { ...config.data, ...now, mixtureChanges: [] };
  const asNow = { ...config, data, workers, minWorkers, steps, expertWorkers };
  const changed = resolveRunConfig(applyResumeSettings(asNow, settings), 'resume');
  return { ...changed, data: mixtureFrom(config.data, changed.data, step + 1) };
}

/**
 * The data settings of a request, with its mixture as one that holds from a step on, where it is another one.
 *
 * @throws WeftError `failed_precondition` for an older version of the index
 */
function mixtureFrom(before: RunConfig['data'], changed: RunConfig['data'], step: number): RunConfig['data'] {
  const fromBatch = batchOfStep(step, before.skippedBatches);
  const now = mixtureAt(before, fromBatch);
  const { weights, indexVersion: wanted, ...others } = changed;
  const { mixtureChanges } = before;
  const data = { ...others, weights: before.weights, indexVersion: before.indexVersion, mixtureChanges };
  const indexVersion = newVersion(now.indexVersion, wanted ?? undefined);
  if (isDeepStrictEqual(weights, now.weights) && indexVersion === now.indexVersion) return data;
  return withMixtureChange(data, { fromBatch, weights, indexVersion });
}

/**
 * Stops a run: with `saveCheckpoint` after the current step and its checkpoint, otherwise at once.
 *
 * @throws WeftError `failed_precondition` when it has finished or failed.
 */
export function stop(builder: DecisionBuilder, { runId, saveCheckpoint, reason: why }: EventOf<'stop'>): string {
  const { state, live } = builder.run(runId);
  if (state.status === 'stopped') return `run ${runId} is already stopped`;
  if (hasEnded(state))
    throw new WeftError('failed_precondition', `run ${runId} has already ${state.status}: there is nothing to stop`);
  if (live.state === 'waiting' || live.state === 'ended')
    return stopNow(builder, runId, why ?? 'stopped as asked while it was queued');
  if (!saveCheckpoint) {
    return stopNow(builder, runId, why ?? `stopped as asked at step ${state.step}, without a checkpoint`);
  }
  if (state.status === 'stopping') return `run ${runId} is already stopping`;
  if (live.state === 'training' && live.preemptedBy !== undefined) {
    builder.record(runId, { kind: 'stopRequested' });
    return `run ${runId} was about to leave its workers to ${live.preemptedBy}, and will stop instead`;
  }
  if (live.state === 'training' && live.isLeft === true) {
    builder.record(runId, { kind: 'stopRequested' });
    return `run ${runId} was about to be left by its workers, and will stop instead`;
  }
  if (state.step === state.config.steps)
    return `run ${runId} is already finishing: its last checkpoint is being written`;
  const { reason } = builder.record(runId, { kind: 'stopRequested' });
  if (live.state !== 'training') return `run ${runId} will stop once its ring has formed again`;
  const afterStep = state.step + 1;
  builder.setLive(runId, { ...live, stopAfterStep: afterStep });
  const workerIds = memberIds(live);
  builder.command({ kind: 'stopRun', workerIds, runId, generation: live.generation, afterStep, reason });
  return `run ${runId} will stop after step ${afterStep}`;
}

/**
 * Saves a checkpoint after the current step of a run that trains. The run goes on.
 *
 * @throws WeftError `failed_precondition` when it does not train.
 */
export function saveCheckpoint(builder: DecisionBuilder, { runId }: EventOf<'saveCheckpoint'>): string {
  const { state, live } = builder.run(runId);
  if (live.state === 'waiting' || live.state === 'ended')
    throw new WeftError('failed_precondition', `run ${runId} is ${state.status}: there is nothing new to save`, {
      hint: `weft status ${runId} shows its newest checkpoint`,
    });
  if (live.state === 'training' && (live.stopAfterStep !== undefined || state.step === state.config.steps))
    return `run ${runId} saves its last step anyway`;
  builder.setLive(runId, { ...live, isCheckpointAsked: true });
  return `run ${runId} saves a checkpoint after step ${state.step + 1}`;
}
