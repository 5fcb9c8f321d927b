import { assertNever, errorCode, WEFT_VERSION, type WeftError } from '@weft/common';
import { BACKENDS } from '@weft/config';
import { type RunFailure, stepReportFromProto, timeBucketOf } from '@weft/contracts';
import type { Assign, ClusterEvent, Command, HeldRun, Outcome, ToldProgress, WorkerIdentity } from '@weft/coordination';
import {
  type Assignment,
  type CoordinatorMessage,
  type Failure,
  type Hello,
  type Progress,
  Role,
  type RunEnded,
  RunEnded_Outcome,
  type WorkerMessage,
} from '@weft/proto';

/** A worker's message as an event; undefined where it is none. */
export function eventFromMessage(workerId: string, { body }: WorkerMessage): ClusterEvent | undefined {
  switch (body?.$case) {
    case 'stepVote': {
      const { runId, generation, ...vote } = body.stepVote;
      return { kind: 'voted', workerId, runId, generation, vote };
    }
    case 'stepReport': {
      const { runId, generation } = body.stepReport;
      return { kind: 'reported', workerId, runId, generation, report: stepReportFromProto(body.stepReport) };
    }
    case 'checkpointPart': {
      const { runId, generation, step, files, stallSeconds } = body.checkpointPart;
      return { kind: 'partSaved', workerId, runId, generation, step, files, stallSeconds };
    }
    case 'checkpointWritten': {
      const { runId, generation, step, directory, manifestSha256 } = body.checkpointWritten;
      return { kind: 'manifestWritten', workerId, runId, generation, step, directory, manifestSha256 };
    }
    case 'ringBroken': {
      const { runId, generation, step, reason, unreachable } = body.ringBroken;
      return { kind: 'ringBroken', workerId, runId, generation, step, reason, unreachable };
    }
    case 'runEnded': {
      const { runId, generation } = body.runEnded;
      return { kind: 'ended', workerId, runId, generation, outcome: outcomeFromProto(body.runEnded) };
    }
    case 'runPrepared': {
      const { runId, failure } = body.runPrepared;
      return { kind: 'prepared', workerId, runId, failure: failure && failureFromProto(failure) };
    }
    case 'leaving':
      return { kind: 'leaving', workerId };
    case 'reachability':
      return { kind: 'probed', workerId, reached: body.reachability.reached };
    // When a message comes, times of workers and what they record change no decision; `WorkerRegistry` takes them.
    case 'heartbeat':
    case 'progress':
    case 'profilePart':
    case 'clockReply':
    case 'timeReport':
    case 'hello':
    case undefined:
      return undefined;
    default:
      return assertNever(body);
  }
}

/** Where a worker is in its run, from its own message. */
export function progressFromProto({ phase, lastEvent, ...told }: Progress): ToldProgress {
  return { ...told, phase: timeBucketOf(phase), lastEvent: lastEvent.slice(0, LONGEST_EVENT) };
}

/** What a worker did last is kept and shown. */
const LONGEST_EVENT = 80;

function outcomeFromProto({ outcome, step, failure }: RunEnded): Outcome {
  if (outcome === RunEnded_Outcome.OUTCOME_FINISHED) return { kind: 'finished', step };
  if (outcome === RunEnded_Outcome.OUTCOME_STOPPED) return { kind: 'stopped', step };
  return { kind: 'failed', step, failure: failureFromProto(failure) };
}

function failureFromProto(failure: Failure | undefined): RunFailure {
  const { code = 'internal', message = 'the worker did not say why', hint = '' } = failure ?? {};
  return { code: errorCode(code), message, hint: hint === '' ? null : hint };
}

/** A worker's identity, from its first message. */
export function identityFromHello(hello: Hello): WorkerIdentity {
  const { workerId, hostName, processId, dataPlaneAddress, metricsAddress, device, memory, peak } = hello;
  const role = hello.role === Role.ROLE_EXPERT_WORKER ? 'expertWorker' : 'rank';
  const bf16Backends = BACKENDS.filter((backend) => hello.bf16Backends.includes(backend));
  return { workerId, hostName, processId, dataPlaneAddress, metricsAddress, device, role, bf16Backends, memory, peak };
}

/** The run that a worker has kept, from its first message. */
export function heldFromHello({ held }: Hello): HeldRun | undefined {
  if (held === undefined) return undefined;
  const { runId, generation, step, loss, hasVoted, votedLoss, isTraining } = held;
  return { runId, generation, step, loss, votedLoss: hasVoted ? votedLoss : undefined, isTraining };
}

/** An error as it is recorded with a run. */
export function failureFromError({ code, message, hint }: WeftError): RunFailure {
  return { code, message, hint: hint ?? null };
}

/** The answer to a worker's hello. */
export function welcomeMessage(heartbeatIntervalMs: number, heartbeatToken: string): CoordinatorMessage {
  const welcome = { coordinatorVersion: WEFT_VERSION, heartbeatIntervalMs, heartbeatToken };
  return { body: { $case: 'welcome', welcome } };
}

/** The assignment of one rank, or of one expert worker by its number. */
export function assignmentMessage(
  command: Assign,
  role: 'rank' | 'expertWorker',
  rank: number,
  ringToken: string,
  runDirectory: string,
): CoordinatorMessage {
  const { runId, generation, config, firstStep, trainedToStep, ring, experts, startFrom, newcomers } = command;
  const arriving = [...ring.keys()].filter((each) => newcomers.includes(ring[each]!.workerId));
  const { expertCopies, expertHolders } = command;
  const hasExperts = expertHolders.length === 0 || expertHolders.some((holders) => holders.includes(rank));
  const isArriving = role === 'rank' ? arriving.includes(rank) : !hasExperts;
  const assignment: Assignment = {
    runId,
    generation,
    rank,
    ringAddresses: ring.map(({ address }) => address),
    ringToken,
    configJson: JSON.stringify(config),
    runDirectory,
    firstStep,
    trainedToStep,
    state: isArriving ? { $case: 'peers', peers: true } : startFromToProto(startFrom),
    newcomers: arriving,
    role: role === 'rank' ? Role.ROLE_RANK : Role.ROLE_EXPERT_WORKER,
    expertAddresses: experts.map(({ address }) => address),
    expertCopies: [...expertCopies],
    expertHolders: expertHolders.map((expertWorkers) => ({ expertWorkers: [...expertWorkers] })),
  };
  return { body: { $case: 'assignment', assignment } };
}

/** The order to get ready for a run under way. */
export function prepareMessage(
  command: Extract<Command, { kind: 'prepare' }>,
  runDirectory: string,
): CoordinatorMessage {
  const { runId, generation, config, step, ring, experts } = command;
  const configJson = JSON.stringify(config);
  const addresses = { ringAddresses: [...ring], expertAddresses: [...experts] };
  return {
    body: { $case: 'prepareRun', prepareRun: { runId, generation, configJson, runDirectory, step, ...addresses } },
  };
}

function startFromToProto(startFrom: Assign['startFrom']): Assignment['state'] {
  switch (startFrom.kind) {
    case 'fresh':
      return { $case: 'fresh', fresh: true };
    case 'keep':
      return { $case: 'keep', keep: true };
    case 'checkpoint':
      return { $case: 'checkpointDirectory', checkpointDirectory: startFrom.directory };
    default:
      return assertNever(startFrom);
  }
}

/** Commands that are the same message for every receiver. */
type BroadcastCommand = Extract<
  Command,
  { kind: 'decideStep' | 'writeManifest' | 'stopRun' | 'endGeneration' | 'continueGeneration' | 'release' }
>;

/** The message of a command, the same for all its receivers. */
export function commandMessage(command: BroadcastCommand): CoordinatorMessage {
  const { runId, generation } = command;
  switch (command.kind) {
    case 'decideStep': {
      const { step, apply, gradNorm, lossTokens, leastCommunicationSeconds, save = false } = command;
      const stepDecision = { runId, generation, step, apply, gradNorm, lossTokens, leastCommunicationSeconds, save };
      return { body: { $case: 'stepDecision', stepDecision } };
    }
    case 'writeManifest': {
      const { step, files, unhealthy } = command;
      const writeManifest = { runId, generation, step, files: [...files], unhealthy };
      return { body: { $case: 'writeManifest', writeManifest } };
    }
    case 'stopRun': {
      const { afterStep, reason } = command;
      return { body: { $case: 'stopRun', stopRun: { runId, generation, afterStep, reason } } };
    }
    case 'endGeneration': {
      const { afterStep } = command;
      return { body: { $case: 'endGeneration', endGeneration: { runId, generation, afterStep } } };
    }
    case 'continueGeneration':
      return { body: { $case: 'continueGeneration', continueGeneration: { runId, generation } } };
    case 'release': {
      const { discardState, reason } = command;
      return { body: { $case: 'release', release: { runId, generation, discardState, reason } } };
    }
    default:
      return assertNever(command);
  }
}
