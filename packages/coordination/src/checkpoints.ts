import type { CheckpointFile } from '@weft/contracts';
import { describeMember, rankOf } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import { findUnhealthy } from './divergence.js';
import type { EventOf } from './events.js';
import { requeueSaved } from './preemption.js';
import { fail, finish, stopNow } from './run-termination.js';
import { VersionedMap } from './versioned-map.js';

/** Handles a member's part of a checkpoint that is on disk. After the last part, rank 0 is asked to write the manifest. */
export function partSaved(builder: DecisionBuilder, event: EventOf<'partSaved'>): string {
  const { runId, workerId, generation, step, files, stallSeconds } = event;
  const { live, state } = builder.run(runId);
  const members = live.state === 'training' ? live.savers.get(generation) : undefined;
  if (live.state !== 'training' || members === undefined)
    return `generation ${generation} of run ${runId} is already over: its part of checkpoint ${step} is void`;
  if (step > state.step)
    return fail(builder, runId, {
      code: 'internal',
      message: `${describeMember(live, workerId)} saved step ${step}, but the last committed step is ${state.step}`,
      hint: 'resume the run from its newest checkpoint, and report this',
    });
  if (step <= state.checkpointStep) return `checkpoint ${step} of run ${runId} is written already`;
  if (live.manifests.has(step)) return `checkpoint ${step} of run ${runId} has all its parts already`;
  const known = live.parts.get(step) ?? VersionedMap.empty<number, readonly CheckpointFile[]>();
  const partsOfStep = known.with(rankOf(members, workerId), files);
  const parts = new Map(live.parts).set(step, partsOfStep);
  const stalls = new Map(live.stalls);
  if (stallSeconds !== undefined) stalls.set(step, Math.max(stallSeconds, stalls.get(step) ?? 0));
  builder.setLive(runId, { ...live, parts, stalls });
  if (partsOfStep.size < members.length)
    return `${partsOfStep.size} of ${members.length} parts of checkpoint ${step} are on disk`;
  parts.delete(step);
  builder.setLive(runId, { ...live, parts, stalls, manifests: new Set(live.manifests).add(step) });
  const inOrder = members.flatMap((_, index) => partsOfStep.get(index) ?? []);
  const rank0 = members[0]!;
  const found = findUnhealthy(state);
  const unhealthy = found !== undefined && step >= found.fromStep ? found.reason : undefined;
  builder.command({ kind: 'writeManifest', workerId: rank0, runId, generation, step, files: inOrder, unhealthy });
  return `all parts of checkpoint ${step} of run ${runId} are on disk`;
}

/** Handles a manifest that is on disk: the checkpoint exists. Runs that finish, stop or are preempted end with this. */
export function manifestWritten(builder: DecisionBuilder, event: EventOf<'manifestWritten'>): string {
  const { runId, generation, step, directory, manifestSha256 } = event;
  const { live, state } = builder.run(runId);
  if (live.state !== 'training' && live.state !== 'reforming') return '';
  // A manifest that an earlier generation was asked for counts too: its rank 0 is still there.
  if (generation < live.firstGeneration || step > state.step || step <= state.checkpointStep)
    return `checkpoint ${step} of run ${runId} is not awaited`;
  const stallSeconds = live.state === 'training' ? live.stalls?.get(step) : undefined;
  builder.record(runId, {
    kind: 'checkpointWritten',
    step,
    directory,
    ...(manifestSha256 === undefined ? {} : { manifestSha256 }),
    ...(stallSeconds === undefined ? {} : { stallSeconds }),
  });
  // Parts of older ones are of no use any more: theirs will not be written.
  if (live.state === 'training') {
    const parts = new Map([...live.parts].filter(([each]) => each > step));
    builder.setLive(runId, { ...live, parts });
  }
  if (step === state.config.steps) return finish(builder, runId);
  if (live.state !== 'training' || step !== live.stopAfterStep) return `checkpoint ${step} of run ${runId} is written`;
  const { preemptedBy } = live;
  if (preemptedBy !== undefined && state.status === 'running')
    return requeueSaved(builder, runId, {
      directory,
      yieldedTo: preemptedBy,
      reason: `it left its workers to run ${preemptedBy} after step ${step}`,
    });
  const reason = `its last workers were asked to end, and saved step ${step}`;
  if (live.isLeft === true && state.status === 'running') return requeueSaved(builder, runId, { directory, reason });
  return stopNow(builder, runId, `it was asked to stop and did so after step ${step}, with a checkpoint`);
}
