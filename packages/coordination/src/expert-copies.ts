import { placeCopies } from '@weft/topology';
import type { ConnectedWorker, Training } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import { withMemoryFor } from './memory.js';
import { areCut } from './reachability.js';
import type { RunState } from './run-state.js';

/**
 * Who holds the experts of the last committed step: for each expert worker of the generation that committed it, the connected
 * members with its experts, the owner before the one with the copy.
 *
 * @param gone workerIds of members that are about to leave
 */
export function expertHolders(
  builder: DecisionBuilder,
  { runId, heldBy: { experts, expertCopies } }: RunState,
  gone: readonly string[] = [],
): readonly (readonly string[])[] {
  const without = [...gone, ...arrivingExperts(builder, runId)];
  const isHere = (workerId: string) => builder.worker(workerId)?.runId === runId && !without.includes(workerId);
  return experts.map((owner, number) => {
    const copy = experts[expertCopies[number] ?? number] ?? owner;
    return [...new Set([owner, copy])].filter(isHere);
  });
}

/** Those that wait for the state although their worker may once have held it: it was lost, and came back without. */
function arrivingExperts(builder: DecisionBuilder, runId: string): readonly string[] {
  const { live } = builder.run(runId);
  return live.state === 'training' || live.state === 'reforming' ? live.arrivingExperts : [];
}

/** Whether no experts are lost: somebody holds each of them. @param gone as of `expertHolders` */
export function areExpertsHeld(builder: DecisionBuilder, state: RunState, gone: readonly string[] = []): boolean {
  return expertHolders(builder, state, gone).every((holders) => holders.length > 0);
}

/**
 * The expert workers of the next generation, by number: those that hold experts keep theirs, idle ones take the numbers of
 * lost ones and come behind the last while the run has fewer than it asks for.
 *
 * @param gone workerIds of members that are about to leave
 */
export function chooseExperts(
  builder: DecisionBuilder,
  state: RunState,
  gone: readonly string[] = [],
): readonly string[] {
  const { runId, config, heldBy } = state;
  const members = builder.membersOf(runId).filter(({ workerId }) => !gone.includes(workerId));
  const holding = heldBy.experts.filter((workerId) => !arrivingExperts(builder, runId).includes(workerId));
  const stays = (workerId: string) =>
    holding.includes(workerId) && members.some((member) => member.workerId === workerId);
  const arrived = members.filter(({ role, workerId }) => role === 'expertWorker' && !holding.includes(workerId));
  const fit = builder
    .idle('expertWorker')
    .filter((worker) => worker.unfitFor?.includes(runId) !== true && !members.some((other) => areCut(other, worker)));
  const free = [...arrived, ...withMemoryFor(builder, config, fit)].map(({ workerId }) => workerId);
  const chosen = heldBy.experts.flatMap((workerId) => (stays(workerId) ? workerId : (free.shift() ?? [])));
  return [...chosen, ...free.slice(0, Math.max(0, config.expertWorkers - chosen.length))];
}

/** The expert workers of a generation that have none of the state with which it begins. */
export function newExperts(
  { heldBy }: RunState,
  { experts, arrivingExperts }: Pick<Training, 'experts' | 'arrivingExperts'>,
): readonly string[] {
  return experts.filter((workerId) => !heldBy.experts.includes(workerId) || arrivingExperts.includes(workerId));
}

/**
 * On which expert worker the copy of each one's experts is kept, by number; none where the run has them off, has one expert
 * worker, or one of them lacks the memory, which is said.
 */
export function chooseCopies(
  builder: DecisionBuilder,
  { runId, config }: RunState,
  experts: readonly ConnectedWorker[],
): readonly number[] {
  if (config.expertCopies === false || experts.length < 2) return [];
  const withCopies = { ...config, expertCopies: true as const, expertWorkers: experts.length };
  for (const worker of experts) {
    const shortage = builder.shortageOf(withCopies, worker);
    if (shortage === undefined) continue;
    const { workerId, hostName } = worker;
    const sentence = `the experts of run ${runId} have no copies: expert worker ${workerId} on ${hostName} has ${shortage.message}`;
    builder.command({ kind: 'notify', runId, sentence });
    return [];
  }
  return placeCopies(experts.map(({ hostName }) => hostName));
}

/** The expert workers that can leave now, one after the other, so that nothing is lost and somebody is left. */
export function leavingExperts(builder: DecisionBuilder, state: RunState): readonly string[] {
  const gone: string[] = [];
  for (const { workerId } of builder.workers.group(`leaving/${state.runId}/expertWorker`)) {
    gone.push(workerId);
    if (!canGoOnWithoutExperts(builder, state, gone)) gone.pop();
  }
  return gone;
}

/** Whether a run can go on without some of its expert workers, with what others hold. */
export function canGoOnWithoutExperts(builder: DecisionBuilder, state: RunState, gone: readonly string[]): boolean {
  return (
    state.heldBy.experts.length > 0 &&
    areExpertsHeld(builder, state, gone) &&
    chooseExperts(builder, state, gone).length > 0
  );
}
