import { WeftError } from '@weft/common';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import type { Draft } from './draft.js';
import { stopNow } from './endings.js';
import type { ClusterEvent } from './events.js';
import { resumeFrom } from './recovery.js';
import { participants } from './roles.js';
import { isEnded, type RunState } from './run-state.js';

/** A new run; it is queued until enough workers are idle. */
export function launch(draft: Draft, event: ClusterEvent & { kind: 'launch' }): string {
  const { runId, config, weftVersion, parent } = event;
  if (draft.findRun(runId) !== undefined)
    throw new WeftError('already_exists', `there is already a run ${runId}`, { cure: 'launch again' });
  const ofSweep = parent === undefined ? {} : { parent };
  const state = draft.record(runId, { kind: 'launched', runId, config, weftVersion, ...ofSweep });
  draft.command({ kind: 'writeConfig', runId, config });
  draft.setLive(runId, { stage: 'waiting', origin: { step: 0, directory: undefined }, claimsUntilMs: undefined });
  draft.queue.add(state, draft.nowMs);
  return `run ${runId} is launched`;
}

/**
 * Queues a run again, to go on from its newest checkpoint; on a queued run it only changes what it asks for.
 *
 * @throws `failed_precondition` when it is at work or has nothing left to do, `invalid_argument` for workers or steps
 *   that cannot be.
 */
export function resume(draft: Draft, event: ClusterEvent & { kind: 'resume' }): string {
  const { runId, found } = event;
  const { state } = draft.run(runId);
  const config = changedConfig(state, event);
  const isSame = (field: 'workers' | 'steps' | 'expertWorkers') => config[field] === state.config[field];
  const changed = !isSame('workers') || !isSame('steps') || !isSame('expertWorkers');
  if (state.status === 'running' && !changed) return `run ${runId} is already running`;
  if (state.status === 'running' || state.status === 'stopping')
    throw new WeftError('failed_precondition', `run ${runId} is ${state.status}`, {
      cure: `stop it with \`weft stop ${runId}\`, wait until it has stopped, and resume then`,
    });
  if (state.status === 'queued' && !changed) return `run ${runId} is already queued`;
  if (state.status === 'finished' && config.steps <= state.step)
    throw new WeftError('failed_precondition', `run ${runId} has finished all its ${state.step} steps`, {
      cure: `give a larger total with \`weft resume ${runId} --steps N\``,
    });
  const checkpointStep = found.checkpoint?.step ?? 0;
  if (config.steps < checkpointStep)
    throw new WeftError(
      'invalid_argument',
      `steps ${config.steps} lies before the newest checkpoint of run ${runId}, step ${checkpointStep}`,
      { cure: `ask for at least ${checkpointStep + 1} steps` },
    );
  if (changed) draft.command({ kind: 'writeConfig', runId, config });
  return resumeFrom(draft, runId, found, config);
}

/** @throws `invalid_argument` in the words of the configuration's own rules. */
function changedConfig({ config }: RunState, event: ClusterEvent & { kind: 'resume' }): RunConfig {
  const { workers = config.workers, steps = config.steps, expertWorkers = config.expertWorkers } = event;
  const isSame = workers === config.workers && steps === config.steps && expertWorkers === config.expertWorkers;
  return isSame ? config : resolveRunConfig({ ...config, workers, steps, expertWorkers }, 'resume');
}

/**
 * With `saveCheckpoint` the run ends after the step in hand and its checkpoint, otherwise at once.
 *
 * @throws `failed_precondition` when it has finished or failed.
 */
export function stop(draft: Draft, { runId, saveCheckpoint }: ClusterEvent & { kind: 'stop' }): string {
  const { state, live } = draft.run(runId);
  if (state.status === 'stopped') return `run ${runId} is already stopped`;
  if (isEnded(state.status))
    throw new WeftError('failed_precondition', `run ${runId} has already ${state.status}: there is nothing to stop`);
  if (live.stage === 'waiting' || live.stage === 'ended')
    return stopNow(draft, runId, 'stopped as asked while it was queued');
  if (!saveCheckpoint) return stopNow(draft, runId, `stopped as asked at step ${state.step}, without a checkpoint`);
  if (state.status === 'stopping') return `run ${runId} is already stopping`;
  if (live.stage === 'training' && live.yieldsTo !== undefined) {
    draft.record(runId, { kind: 'stopRequested' });
    return `run ${runId} was about to leave its workers to ${live.yieldsTo}, and will stop instead`;
  }
  if (state.step === state.config.steps)
    return `run ${runId} is already finishing: its last checkpoint is being written`;
  const { reason } = draft.record(runId, { kind: 'stopRequested' });
  if (live.stage !== 'training') return `run ${runId} will stop once its ring has formed anew`;
  const afterStep = state.step + 1;
  draft.setLive(runId, { ...live, stopAfterStep: afterStep });
  const workerIds = participants(live);
  draft.command({ kind: 'stopRun', workerIds, runId, generation: live.generation, afterStep, reason });
  return `run ${runId} will stop after step ${afterStep}`;
}
