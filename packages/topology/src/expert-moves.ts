import { refuse } from '@weft/common';
import type { Range } from './slices.js';

/** Where experts are in memory: ranges of them, and who holds each. */
export interface ExpertLayout {
  readonly placement: readonly Range[];
  /** By range: the numbers of the expert workers that hold it, the one that is asked for it first. */
  readonly holders: readonly (readonly number[])[];
}

/** Experts that one expert worker is to hold. */
export interface ExpertTarget {
  readonly worker: number;
  /** It serves its own experts, and keeps a copy of another one's. */
  readonly kind: 'own' | 'copy';
  readonly experts: Range;
}

/** Experts that go from one expert worker to another, or stay on the same one in another range. */
export interface ExpertMove {
  readonly from: number;
  /** The range of which they are a part there. */
  readonly source: Range;
  readonly target: ExpertTarget;
  readonly experts: Range;
}

/**
 * On which expert worker the copy of each one's experts is kept: the number of the holder, by number of the owner. It is on
 * another host wherever that can be. Without a second expert worker there are no copies.
 *
 * @param hosts the host of each expert worker, by number
 */
export function placeCopies(hosts: readonly string[]): readonly number[] {
  const count = hosts.length;
  if (count < 2) return [];
  const holderOf = (owner: number, distance: number) => (owner + distance) % count;
  const apart = (distance: number) => hosts.filter((host, owner) => host !== hosts[holderOf(owner, distance)]).length;
  let best = 1;
  for (let distance = 2; distance < count; distance++) if (apart(distance) > apart(best)) best = distance;
  return hosts.map((_, owner) => holderOf(owner, best));
}

/** All that the expert workers of a placement hold, in the order in which it moves. */
export function expertTargets(placement: readonly Range[], copies: readonly number[]): readonly ExpertTarget[] {
  const own = placement.map((experts, worker) => ({ worker, kind: 'own', experts }) as const);
  return [...own, ...copies.map((worker, owner) => ({ worker, kind: 'copy', experts: placement[owner]! }) as const)];
}

/**
 * What has to move so that every target is where it belongs. A worker that holds the very range of a target keeps it. Depends
 * on the arguments only, so that both ends of a move know of it.
 *
 * @throws WeftError `internal` for experts that nobody holds
 */
export function expertMoves(before: ExpertLayout, targets: readonly ExpertTarget[]): readonly ExpertMove[] {
  const keeps = ({ worker, experts }: ExpertTarget) =>
    before.placement.some((range, at) => isSame(range, experts) && before.holders[at]?.includes(worker) === true);
  return targets.flatMap((target) => {
    if (keeps(target)) return [];
    return before.placement.flatMap((source, at): ExpertMove[] => {
      const experts = overlap(source, target.experts);
      if (experts === undefined) return [];
      const holders = before.holders[at] ?? [];
      const from = holders.includes(target.worker) ? target.worker : holders[0];
      if (from === undefined) refuse('internal', `nobody holds the experts ${source.first} to ${source.end - 1}`);
      return [{ from, source, target, experts }];
    });
  });
}

/** Whether two ranges are the same. */
function isSame(a: Range, b: Range): boolean {
  return a.first === b.first && a.end === b.end;
}

function overlap(a: Range, b: Range): Range | undefined {
  const [first, end] = [Math.max(a.first, b.first), Math.min(a.end, b.end)];
  return first < end ? { first, end } : undefined;
}
