import type { RunConfig } from '@weft/config';
import { type ExpertMove, expertMoves, expertTargets, placeExperts, type Range } from '@weft/topology';
import type { GenerationPlan } from '../ports.js';

/** What one expert worker holds in a generation, and what it exchanges with the others. */
export interface ExpertRoles {
  readonly own: Range;
  /** The experts whose copy it keeps; undefined: none. */
  readonly copy: Range | undefined;
  /** Whose experts those are, and who keeps the copy of its own. */
  readonly copied: number | undefined;
  readonly copiedBy: number | undefined;
  /** What moves between all expert workers before the first step. */
  readonly moves: readonly ExpertMove[];
  /** The numbers of those to which it sends, and of those that send to it. */
  readonly receivers: readonly number[];
  readonly senders: readonly number[];
}

/** Follows from the configuration and the plan, so that all expert workers know it alike. */
export function expertRoles({ model }: Pick<RunConfig, 'model'>, plan: GenerationPlan): ExpertRoles {
  const { rank, expertWorkers, state, expertCopies = [], expertHolders = [] } = plan;
  const experts = model.decoder.moe?.experts ?? 1;
  const placement = placeExperts(experts, expertWorkers);
  const targets = expertTargets(placement, expertCopies);
  const isKept = (state.kind === 'keep' || state.kind === 'peers') && expertHolders.length > 0;
  const moves = isKept
    ? expertMoves({ placement: placeExperts(experts, expertHolders.length), holders: expertHolders }, targets)
    : [];
  const copied = expertCopies.indexOf(rank);
  const copiedBy = expertCopies[rank];
  const between = moves.filter(({ from, target }) => from !== target.worker);
  const others = (numbers: readonly (number | undefined)[]) =>
    [...new Set(numbers)].filter((each): each is number => each !== undefined && each !== rank);
  return {
    own: placement[rank]!,
    copy: copied < 0 ? undefined : placement[copied],
    copied: copied < 0 ? undefined : copied,
    copiedBy,
    moves,
    receivers: others([...between.flatMap(({ from, target }) => (from === rank ? target.worker : [])), copiedBy]),
    senders: others([
      ...between.flatMap(({ from, target }) => (target.worker === rank ? from : [])),
      copied < 0 ? undefined : copied,
    ]),
  };
}
