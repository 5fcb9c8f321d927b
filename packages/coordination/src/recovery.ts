import { basename } from 'node:path';
import type { RunConfig } from '@weft/config';
import type { Draft } from './draft.js';
import { fail, stopNow } from './endings.js';
import type { FoundCheckpoint, RecoveryPolicy } from './events.js';
import { isEnded, type RunState } from './run-state.js';

/** The coordinator came back and replayed its runs; nobody holds their state in memory any more. */
export function recovered(draft: Draft, policy: RecoveryPolicy): string {
  const open = draft.runIds.filter((runId) => !isEnded(draft.run(runId).state.phase));
  return open.map((runId) => recover(draft, draft.run(runId).state, policy)).join('; ');
}

function recover(draft: Draft, { runId, phase, step }: RunState, policy: RecoveryPolicy): string {
  const cause = `the coordinator went away while the run was ${phase} at step ${step}`;
  if (policy === 'manual' || phase === 'stopping')
    return stopNow(draft, runId, `${cause}; go on from its newest checkpoint with \`weft resume ${runId}\``);
  if (phase === 'running') draft.record(runId, { kind: 'requeued', reason: cause });
  draft.setLive(runId, { stage: 'waiting', origin: undefined });
  draft.command({ kind: 'findCheckpoint', runId, notAfterStep: step });
  return `run ${runId} is queued: ${cause}`;
}

/** The answer to `findCheckpoint`: the run can start from there. */
export function checkpointFound(draft: Draft, runId: string, found: FoundCheckpoint): string {
  const { state, live } = draft.run(runId);
  if (live.stage !== 'waiting' || live.origin !== undefined)
    return `run ${runId} does not wait for a checkpoint any more`;
  const neverTrained = state.generation === 0 && found.checkpoint === undefined && found.skipped.length === 0;
  if (!neverTrained) return resumeFrom(draft, runId, found, state.config);
  draft.setLive(runId, { stage: 'waiting', origin: { step: 0, directory: undefined } });
  return `run ${runId} starts from the beginning`;
}

/** Rolls the run back to a checkpoint, or to its beginning when there is none, and queues it. */
export function resumeFrom(draft: Draft, runId: string, found: FoundCheckpoint, { workers, steps }: RunConfig): string {
  const { state } = draft.run(runId);
  const { checkpoint, skipped } = found;
  const fromStep = checkpoint?.step ?? 0;
  if (fromStep > state.step)
    return fail(draft, runId, {
      code: 'corrupt_data',
      message: `checkpoint ${checkpoint?.directory} holds step ${fromStep}, but the log of run ${runId} ends at step ${state.step}`,
      cure: 'restore the events.jsonl that belongs to it, or move the checkpoint away',
    });
  draft.record(runId, {
    kind: 'resumed',
    fromStep,
    checkpointDirectory: checkpoint?.directory ?? null,
    skippedCheckpoints: skipped,
    workers,
    steps,
    reason: sentence(found),
  });
  draft.command({ kind: 'mendMetrics', runId });
  draft.setLive(runId, { stage: 'waiting', origin: { step: fromStep, directory: checkpoint?.directory } });
  const reason = `run ${runId}: ${sentence(found)}`;
  if (fromStep !== steps) return reason;
  draft.setLive(runId, { stage: 'ended' });
  draft.record(runId, { kind: 'finished', step: fromStep });
  return `${reason}, which holds all its steps`;
}

function sentence({ checkpoint, skipped }: FoundCheckpoint): string {
  const from =
    checkpoint === undefined
      ? 'it starts again from step 0, for want of a checkpoint'
      : `it resumes from the checkpoint of step ${checkpoint.step}`;
  if (skipped.length === 0) return from;
  const why = skipped.map(({ directory, reason }) => `${basename(directory)} was skipped: ${reason}`).join('; ');
  return `${from} (${why})`;
}
