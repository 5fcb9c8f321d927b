import type { ConnectedWorker } from './cluster-state.js';
import type { DecisionBuilder } from './decision-builder.js';
import type { EventOf } from './events.js';

/** How often workers are asked whether they reach those again that they could not. */
const PROBE_INTERVAL_MS = 2000;
/** Of more workers that cannot reach each other, those that most others cannot reach are left out first. */
const MAX_EXACT = 12;

/** Remembers whom a worker could not reach when its ring broke; returns those that are connected. */
export function noteUnreachable(
  builder: DecisionBuilder,
  { workerId, unreachable = [] }: Pick<EventOf<'ringBroken'>, 'workerId' | 'unreachable'>,
): readonly ConnectedWorker[] {
  const others = [...new Set(unreachable)].flatMap((address) =>
    builder.workers.group(`at/${address}`).filter((other) => other.workerId !== workerId),
  );
  const { cannotReach = [] } = builder.worker(workerId) ?? {};
  const addresses = [...new Set([...cannotReach, ...others.map(({ dataPlaneAddress }) => dataPlaneAddress)])];
  if (others.length > 0) builder.changeWorker(workerId, { cannotReach: addresses });
  return others;
}

/** Whether one of the two could not reach the other. */
export function areCut(a: ConnectedWorker, b: ConnectedWorker): boolean {
  return a.cannotReach?.includes(b.dataPlaneAddress) === true || b.cannotReach?.includes(a.dataPlaneAddress) === true;
}

/** Whether a worker and a member of a run could not reach each other. Only those are looked at that could not reach somebody. */
export function isCutFromMembers({ workers }: DecisionBuilder, runId: string, worker: ConnectedWorker): boolean {
  if (workers.count('cut') === 0) return false;
  const reachesAll = (worker.cannotReach ?? []).every((address) =>
    workers.group(`at/${address}`).every((other) => other.runId !== runId),
  );
  return !reachesAll || workers.group('cut').some((other) => other.runId === runId && areCut(other, worker));
}

/**
 * The fewest of the workers without which all others reach each other. Among equally many those that come later in the list.
 *
 * @param workers the most wanted first
 */
export function chooseLeftOut(workers: readonly ConnectedWorker[]): readonly ConnectedWorker[] {
  const cuts = findCuts(workers);
  const cutOff = new Set(cuts.flat());
  const involved = workers.filter((worker) => cutOff.has(worker)).toReversed();
  if (involved.length > MAX_EXACT) return leaveOutGreedily(involved, cuts);
  for (let size = 0; size < involved.length; size++)
    for (const chosen of subsets(involved, size))
      if (cuts.every(([a, b]) => chosen.includes(a) || chosen.includes(b))) return chosen;
  return [];
}

type Cut = readonly [ConnectedWorker, ConnectedWorker];

/** The pairs that could not reach each other; of thousands of workers few could not reach somebody. */
function findCuts(workers: readonly ConnectedWorker[]): readonly Cut[] {
  const unreached = new Set(workers.flatMap(({ cannotReach = [] }) => cannotReach));
  const others = workers.filter(({ dataPlaneAddress }) => unreached.has(dataPlaneAddress));
  return workers.flatMap((a) => {
    const { cannotReach = [] } = a;
    return others.flatMap((b): Cut[] => (b !== a && cannotReach.includes(b.dataPlaneAddress) ? [[a, b]] : []));
  });
}

function leaveOutGreedily(involved: readonly ConnectedWorker[], cuts: readonly Cut[]): readonly ConnectedWorker[] {
  const chosen: ConnectedWorker[] = [];
  for (let rest = cuts; rest.length > 0; rest = rest.filter((cut) => !chosen.some((each) => cut.includes(each)))) {
    const count = (worker: ConnectedWorker) => rest.filter((cut) => cut.includes(worker)).length;
    chosen.push(involved.reduce((most, worker) => (count(worker) > count(most) ? worker : most)));
  }
  return chosen;
}

/** All subsets of a size, those of earlier items first. */
function* subsets<T>(items: readonly T[], size: number, first = 0): Generator<readonly T[]> {
  if (size === 0) yield [];
  else
    for (let i = first; i <= items.length - size; i++)
      for (const rest of subsets(items, size - 1, i + 1)) yield [items[i]!, ...rest];
}

/** Asks from time to time, to be called with every tick. */
export function probeCuts(builder: DecisionBuilder): void {
  if (builder.nowMs - (builder.lastProbeMs ?? 0) < PROBE_INTERVAL_MS) return;
  builder.lastProbeMs = builder.nowMs;
  for (const { workerId, cannotReach = [] } of builder.workers.group('cut')) {
    const addresses = cannotReach.filter((address) => builder.workers.count(`at/${address}`) > 0);
    if (addresses.length < cannotReach.length)
      builder.changeWorker(workerId, { cannotReach: addresses.length === 0 ? undefined : addresses });
    if (addresses.length > 0) builder.command({ kind: 'probe', workerId, addresses });
  }
}

/** Handles the answer: those that are reached again may be members again. */
export function probed(builder: DecisionBuilder, { workerId, reached }: EventOf<'probed'>): string {
  const { cannotReach = [] } = builder.worker(workerId) ?? {};
  const again = cannotReach.filter((address) => reached.includes(address));
  if (again.length === 0) return '';
  const rest = cannotReach.filter((address) => !again.includes(address));
  builder.changeWorker(workerId, { cannotReach: rest.length === 0 ? undefined : rest });
  return `worker ${workerId} reaches ${again.join(', ')} again`;
}
