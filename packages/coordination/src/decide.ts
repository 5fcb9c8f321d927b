import { assertNever } from '@weft/common';
import { attended, left, seen, tick } from './attendance.js';
import { manifestWritten, partSaved } from './checkpoints.js';
import type { ClusterState } from './cluster-state.js';
import type { Command } from './commands.js';
import { Draft } from './draft.js';
import { effectFailed, ended } from './endings.js';
import type { ClusterEvent, MemberEvent } from './events.js';
import { formRings } from './formation.js';
import { ringBroken } from './loss.js';
import { reported } from './metrics.js';
import type { RunRecord } from './records.js';
import { checkpointFound, recovered } from './recovery.js';
import { launch, resume, stop } from './requests.js';
import { voted } from './votes.js';

/** What follows from an event. */
export interface Decision {
  readonly state: ClusterState;
  /** To be appended to the logs of their runs before any command is carried out. */
  readonly records: readonly { readonly runId: string; readonly record: RunRecord }[];
  /** To be carried out in order. */
  readonly commands: readonly Command[];
  /** Why, one sentence without its full stop; empty when there is nothing to say. */
  readonly reason: string;
}

/**
 * The whole of the coordinator's judgement: what to write down and what to do about one event. Pure, so a run of a
 * hundred workers and all its disasters fit into a test.
 *
 * @throws for a `launch`, `resume` or `stop` that must be refused; nothing has changed then.
 */
export function decide(nowMs: number, state: ClusterState, event: ClusterEvent): Decision {
  const draft = new Draft(nowMs, state);
  const reasons = [handle(draft, event), formRings(draft)].filter((reason) => reason !== '');
  return { state: draft.state, records: draft.records, commands: draft.commands, reason: reasons.join('; ') };
}

/** Every handler changes the draft and returns why, one clause. */
function handle(draft: Draft, event: ClusterEvent): string {
  switch (event.kind) {
    case 'recovered':
      return recovered(draft, event);
    case 'queueListed':
      draft.queue.replace(event.queue);
      return '';
    case 'tick':
      return tick(draft);
    case 'launch':
      return launch(draft, event);
    case 'resume':
      return resume(draft, event);
    case 'stop':
      return stop(draft, event);
    case 'checkpointFound':
      return checkpointFound(draft, event.runId, event.found);
    case 'runFailed':
      return effectFailed(draft, event.runId, event.failure);
    case 'attended':
      return attended(draft, event.worker);
    case 'left':
      return left(draft, event.workerId, event.reason);
    case 'heartbeat':
      return seen(draft, event.workerId);
    default:
      return handleMember(draft, event);
  }
}

function handleMember(draft: Draft, event: MemberEvent): string {
  const { workerId, runId } = event;
  seen(draft, workerId);
  if (draft.worker(workerId)?.runId !== runId) return `worker ${workerId} is not a member of run ${runId}`;
  switch (event.kind) {
    case 'voted':
      return voted(draft, event);
    case 'reported':
      return reported(draft, event);
    case 'partSaved':
      return partSaved(draft, event);
    case 'manifestWritten':
      return manifestWritten(draft, event);
    case 'ringBroken':
      return ringBroken(draft, event);
    case 'ended':
      return ended(draft, event);
    default:
      return assertNever(event);
  }
}
