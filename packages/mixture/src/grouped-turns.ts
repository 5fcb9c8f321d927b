import { mapSources, type PerSource, type SourceId } from '@weft/common';
import { type Balances, greatestCommonDivisor, type SequenceAddress, SourceTurns } from './source-turns.js';

/** How one group divides its turns among its sources. */
interface Group {
  /** Undefined where all its weights are 0, so that it has no turns. */
  readonly turns: SourceTurns | undefined;
  /** Of its sources at the beginning. */
  readonly begin: Balances | undefined;
}

/** The order of sources, some of which form groups, while their weights stay: groups take turns, and divide theirs. */
export class GroupedTurns {
  readonly #weights: PerSource<number>;
  readonly #groupOf: PerSource<string>;
  readonly #groups: SourceTurns;
  /** Those that are not one source of the same name. */
  readonly #inGroup: ReadonlyMap<string, Group>;

  /**
   * @param groupOf the group of each source
   * @param former the order that this one goes on from, and after how many sequences; default: none
   * @throws `invalid_argument` where all weights are 0 or their period is too long
   */
  constructor(
    weights: PerSource<number>,
    groupOf: PerSource<string>,
    former?: { readonly turns: GroupedTurns; readonly length: number },
  ) {
    this.#weights = weights;
    this.#groupOf = groupOf;
    const members = new Map<string, Record<SourceId, number>>();
    for (const [source, weight] of Object.entries(weights)) {
      const group = groupOf[source] ?? source;
      members.set(group, { ...members.get(group), [source]: weight });
    }
    const ofGroups = Object.fromEntries([...members].map(([group, each]) => [group, sumOf(each)]));
    this.#groups = new SourceTurns(
      ofGroups,
      former === undefined ? undefined : former.turns.#groups.balancesBefore(former.length),
    );
    const taken = former === undefined ? {} : former.turns.#groups.countsBefore(former.length);
    this.#inGroup = new Map(
      [...members].flatMap(([group, each]) => {
        if (Object.hasOwn(each, group) && Object.keys(each).length === 1) return [];
        const before = former === undefined ? undefined : former.turns.#inGroup.get(group);
        const begin = before?.turns?.balancesBefore(taken[group] ?? 0) ?? before?.begin;
        const turns = sumOf(each) === 0 ? undefined : new SourceTurns(each, begin);
        return [[group, { turns, begin }]];
      }),
    );
  }

  /** The order repeats after this many sequences where it goes on from no other: 9 for 4:4:1. */
  get period(): number {
    return [...this.#inGroup].reduce((period, [group, { turns: own }]) => {
      if (own === undefined) return period;
      const { [group]: turns = 0 } = this.#groups.countsBefore(period);
      return (period * own.period) / greatestCommonDivisor(turns, own.period);
    }, this.#groups.period);
  }

  /** The source of the sequence `offset`, from 0, and how many of it came before. O(1). */
  locate(offset: number): SequenceAddress {
    const turn = this.#groups.locate(offset);
    return this.#inGroup.get(turn.source)?.turns?.locate(turn.indexInSource) ?? turn;
  }

  /** How many of the first `offset` sequences came from each source. O(1). */
  countsBefore(offset: number): PerSource<number> {
    const turns = this.#groups.countsBefore(offset);
    if (this.#inGroup.size === 0) return turns;
    const counts: Record<SourceId, number> = {};
    for (const [group, count] of Object.entries(turns)) {
      const own = this.#inGroup.get(group);
      Object.assign(counts, own === undefined ? { [group]: count } : own.turns?.countsBefore(count));
    }
    return mapSources(this.#weights, (_, source) => counts[source] ?? 0);
  }

  /** The order that follows after the first `length` sequences of this one. @throws as the constructor */
  continuedAt(length: number, weights: PerSource<number>): GroupedTurns {
    return new GroupedTurns(weights, this.#groupOf, { turns: this, length });
  }
}

const sumOf = (weights: PerSource<number>) => Object.values(weights).reduce((sum, weight) => sum + weight, 0);
