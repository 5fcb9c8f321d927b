/** A file, a folder, a tar member or an empty document that the index does not hold, and why. */
export interface LeftOut {
  /** Path below the data directory; of a member or document also its name: `captioned/a.tar 01.mask.png`. */
  readonly name: string;
  readonly reason: string;
  /** Of what lies inside a shard: the shard, a path below the folder of its dataset. */
  readonly shard?: string;
  /** Its name there: of a member, of a sample, or the line. */
  readonly key?: string;
  /** Of a sample that should have been read: all that is known. */
  readonly detail?: string;
}

/** What is left out for one reason. */
export interface LeftOutReason {
  readonly reason: string;
  readonly count: number;
  /** The first few. */
  readonly names: readonly string[];
}

/** More reasons than these are counted together. */
const MOST_REASONS = 100;
/** Names kept for each reason. */
const EXAMPLES = 3;

/** Counts what is left out, by reason. Memory use does not grow with the number of things. */
export class LeftOutCounts {
  readonly #reasons = new Map<string, { count: number; names: string[] }>();

  add({ name, reason }: LeftOut): void {
    const counted = this.#reasons.has(reason) || this.#reasons.size < MOST_REASONS ? reason : 'other reasons';
    const known = this.#reasons.get(counted) ?? { count: 0, names: [] };
    known.count++;
    if (known.names.length < EXAMPLES) known.names.push(name);
    this.#reasons.set(counted, known);
  }

  /** One entry per reason, in the order in which the reasons came up. */
  get reasons(): readonly LeftOutReason[] {
    return [...this.#reasons].map(([reason, { count, names }]) => ({ reason, count, names }));
  }
}
