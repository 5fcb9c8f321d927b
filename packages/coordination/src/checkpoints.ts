import type { Draft } from './draft.js';
import { fail, finish, stopNow } from './endings.js';
import type { MemberEventOf } from './events.js';
import { participants, placeOf } from './roles.js';
import { leaveWorkers } from './yielding.js';

/** A member's shards of a checkpoint are on disk. With the last one's, rank 0 may write the manifest. */
export function partSaved(draft: Draft, event: MemberEventOf<'partSaved'>): string {
  const { runId, workerId, generation, step, files } = event;
  const { live, state } = draft.run(runId);
  if (live.stage !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over: its part of checkpoint ${step} is void`;
  const everybody = participants(live);
  const place = everybody.indexOf(workerId);
  if (step > state.step)
    return fail(draft, runId, {
      code: 'internal',
      message: `${placeOf(live, workerId)} saved step ${step}, but the last committed step is ${state.step}`,
      cure: 'resume the run from its newest checkpoint, and report this',
    });
  if (live.manifests.has(step)) return `checkpoint ${step} of run ${runId} has all its parts already`;
  const ofStep = new Map(live.parts.get(step)).set(place, files);
  const parts = new Map(live.parts).set(step, ofStep);
  draft.setLive(runId, { ...live, parts });
  const wanted = everybody.length;
  if (ofStep.size < wanted) return `${ofStep.size} of ${wanted} parts of checkpoint ${step} are on disk`;
  parts.delete(step);
  draft.setLive(runId, { ...live, parts, manifests: new Set(live.manifests).add(step) });
  const inOrder = everybody.flatMap((_, other) => ofStep.get(other) ?? []);
  const writer = live.members[0]!;
  draft.command({ kind: 'writeManifest', workerId: writer, runId, generation, step, files: inOrder });
  return `all parts of checkpoint ${step} of run ${runId} are on disk`;
}

/** The manifest is on disk: from now on the checkpoint exists, and with its last one a run is over. */
export function manifestWritten(draft: Draft, event: MemberEventOf<'manifestWritten'>): string {
  const { runId, generation, step, directory } = event;
  const { live, state } = draft.run(runId);
  if (live.stage !== 'training' && live.stage !== 'reforming') return '';
  // One that an earlier generation was asked for counts as well: rank 0 outlived it.
  if (generation < live.firstGeneration || step > state.step || step <= state.checkpointStep)
    return `checkpoint ${step} of run ${runId} is not awaited`;
  draft.record(runId, { kind: 'checkpointWritten', step, directory });
  if (step === state.config.steps) return finish(draft, runId);
  if (live.stage !== 'training' || step !== live.stopAfterStep) return `checkpoint ${step} of run ${runId} is written`;
  if (live.yieldsTo !== undefined && state.status === 'running')
    return leaveWorkers(draft, runId, { to: live.yieldsTo, directory });
  return stopNow(draft, runId, `it was asked to stop and did so after step ${step}, with a checkpoint`);
}
