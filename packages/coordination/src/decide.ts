import { assertNever } from '@weft/common';
import { prepared } from './admission.js';
import { manifestWritten, partSaved } from './checkpoints.js';
import type { ClusterState, Lookups } from './cluster-state.js';
import type { Command } from './commands.js';
import { DecisionBuilder } from './decision-builder.js';
import type { ClusterEvent, MemberEvent } from './events.js';
import { ownFault, tick, workerConnected, workerDisconnected, workerLeaves } from './membership.js';
import { updateShortages } from './memory.js';
import { stepReported } from './metrics.js';
import { changeMixture } from './mixture-requests.js';
import { probed } from './reachability.js';
import type { RunRecord } from './records.js';
import { checkpointFound, recovered } from './recovery.js';
import { launch, resume, saveCheckpoint, stop } from './requests.js';
import { giveUpReturns, takeBackHeld } from './returning.js';
import { formRings } from './ring-formation.js';
import { effectFailed, memberEnded } from './run-termination.js';
import { voted } from './votes.js';
import { ringBroken } from './worker-lost.js';

/** The result of one event. */
export interface Decision {
  readonly state: ClusterState;
  /** To be appended to the logs of their runs before any command is executed. */
  readonly records: readonly { readonly runId: string; readonly record: RunRecord }[];
  /** To be executed in order. */
  readonly commands: readonly Command[];
  /** Why, one sentence without its full stop; empty for routine events. */
  readonly reason: string;
}

/**
 * The coordinator as a pure state machine: maps a state and an event to the next state, the records to write and the
 * commands to execute. Everything the coordinator decides is decided here, so a test can replay a cluster of a hundred
 * workers with all its failures.
 *
 * First the event's handler changes the state. Then every ring that the idle workers allow is formed, unless nothing has
 * happened but that a member of a run has reported something. A decision takes no longer because more workers are connected; that
 * of a run that begins, ends or commits a step is about each of its members.
 *
 * @throws WeftError for a `launch`, `resume` or `stop` that must be refused; nothing has changed then.
 */
export function decide(nowMs: number, state: ClusterState, event: ClusterEvent, lookups: Lookups = {}): Decision {
  const builder = new DecisionBuilder(nowMs, state, lookups);
  const reasons = [handle(builder, event)];
  if (CHANGE_SHORTAGES.has(event.kind)) updateShortages(builder);
  if (event.kind === 'tick' || builder.hasChanged)
    reasons.push(takeBackHeld(builder), giveUpReturns(builder), formRings(builder));
  const reason = reasons.filter((each) => each !== '').join('; ');
  return { state: builder.state, records: builder.records, commands: builder.commands, reason };
}

/** After these a queued run may find other workers, or be another. */
const CHANGE_SHORTAGES: ReadonlySet<ClusterEvent['kind']> = new Set([
  'launch',
  'resume',
  'workerConnected',
  'workerDisconnected',
  'tick',
]);

/** Calls the event's handler. Each handler changes the builder and returns the reason, one clause. */
function handle(builder: DecisionBuilder, event: ClusterEvent): string {
  switch (event.kind) {
    case 'launch':
      return launch(builder, event);
    case 'resume':
      return resume(builder, event);
    case 'changeMixture':
      return changeMixture(builder, event);
    case 'stop':
      return stop(builder, event);
    case 'saveCheckpoint':
      return saveCheckpoint(builder, event);
    case 'workerConnected':
      return workerConnected(builder, event);
    case 'workerDisconnected':
      return workerDisconnected(builder, event.workerId, event.reason);
    case 'prepared':
      return prepared(builder, event);
    case 'probed':
      return probed(builder, event);
    case 'leaving':
      return workerLeaves(builder, event.workerId);
    case 'tick':
      return tick(builder);
    case 'recovered':
      return recovered(builder, event);
    case 'checkpointFound':
      return checkpointFound(builder, event.runId, event.found);
    case 'runFailed':
      return effectFailed(builder, event.runId, event.failure);
    case 'queueListed':
      builder.queue.replace(event.queue);
      return '';
    default:
      return handleMember(builder, event);
  }
}

/** Handles a message of a member of a run, which may be over for the worker. */
function handleMember(builder: DecisionBuilder, event: MemberEvent): string {
  const { workerId, runId } = event;
  if (builder.worker(workerId)?.runId !== runId) return `worker ${workerId} is not a member of run ${runId}`;
  switch (event.kind) {
    case 'voted':
      return voted(builder, event);
    case 'reported':
      return stepReported(builder, event);
    case 'partSaved':
      return partSaved(builder, event);
    case 'manifestWritten':
      return manifestWritten(builder, event);
    case 'ringBroken':
      return ringBroken(builder, event);
    case 'ended':
      return ownFault(builder, event) ?? memberEnded(builder, event);
    default:
      return assertNever(event);
  }
}
