import { describeMember, memberIds } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';
import { requeuePreempted } from './preemption.js';
import { fail, finish, stopNow } from './run-termination.js';

/** Handles a member's part of a checkpoint that is on disk. After the last part, rank 0 is asked to write the manifest. */
export function partSaved(builder: DecisionBuilder, event: EventOf<'partSaved'>): string {
  const { runId, workerId, generation, step, files } = event;
  const { live, state } = builder.run(runId);
  if (live.state !== 'training' || live.generation !== generation)
    return `generation ${generation} of run ${runId} is already over: its part of checkpoint ${step} is void`;
  if (step > state.step)
    return fail(builder, runId, {
      code: 'internal',
      message: `${describeMember(live, workerId)} saved step ${step}, but the last committed step is ${state.step}`,
      hint: 'resume the run from its newest checkpoint, and report this',
    });
  if (live.manifests.has(step)) return `checkpoint ${step} of run ${runId} has all its parts already`;
  const members = memberIds(live);
  const partsOfStep = new Map(live.parts.get(step)).set(members.indexOf(workerId), files);
  const parts = new Map(live.parts).set(step, partsOfStep);
  builder.setLive(runId, { ...live, parts });
  if (partsOfStep.size < members.length)
    return `${partsOfStep.size} of ${members.length} parts of checkpoint ${step} are on disk`;
  parts.delete(step);
  builder.setLive(runId, { ...live, parts, manifests: new Set(live.manifests).add(step) });
  const inOrder = members.flatMap((_, index) => partsOfStep.get(index) ?? []);
  const rank0 = live.members[0]!;
  builder.command({ kind: 'writeManifest', workerId: rank0, runId, generation, step, files: inOrder });
  return `all parts of checkpoint ${step} of run ${runId} are on disk`;
}

/** Handles a manifest that is on disk: the checkpoint exists. Runs that finish, stop or are preempted end with this. */
export function manifestWritten(builder: DecisionBuilder, event: EventOf<'manifestWritten'>): string {
  const { runId, generation, step, directory } = event;
  const { live, state } = builder.run(runId);
  if (live.state !== 'training' && live.state !== 'reforming') return '';
  // A manifest that an earlier generation was asked for counts too: its rank 0 is still there.
  if (generation < live.firstGeneration || step > state.step || step <= state.checkpointStep)
    return `checkpoint ${step} of run ${runId} is not awaited`;
  builder.record(runId, { kind: 'checkpointWritten', step, directory });
  if (step === state.config.steps) return finish(builder, runId);
  if (live.state !== 'training' || step !== live.stopAfterStep) return `checkpoint ${step} of run ${runId} is written`;
  const { preemptedBy } = live;
  if (preemptedBy !== undefined && state.status === 'running')
    return requeuePreempted(builder, runId, { preemptedBy, directory });
  return stopNow(builder, runId, `it was asked to stop and did so after step ${step}, with a checkpoint`);
}
