import { itemAt } from '../required.js';

/** Nodes of an acyclic graph, joined to clusters such that the graph of the clusters is acyclic as well. */
export class Clusters {
  readonly #members: (readonly number[])[];
  readonly #readers: readonly number[][];

  /** @param sources by node: the nodes that it reads */
  constructor(sources: readonly (readonly number[])[]) {
    this.#members = sources.map((_, node) => [node]);
    this.#readers = sources.map(() => []);
    for (const [node, read] of sources.entries()) for (const source of read) this.#readers[source]?.push(node);
  }

  /** The nodes of a node's cluster, ascending. */
  membersOf(node: number): readonly number[] {
    return itemAt(this.#members, node);
  }

  /** Joins the clusters of a node and of one that reads it, unless something outside of both lies between them. */
  merge(source: number, reader: number): void {
    const [first, second] = [this.membersOf(source), this.membersOf(reader)];
    if (first === second || this.#leadsRound(first, second)) return;
    const joined = [...first, ...second].sort((a, b) => a - b);
    for (const node of joined) this.#members[node] = joined;
  }

  /** Whether a way leads from one cluster to the other through a third. */
  #leadsRound(from: readonly number[], to: readonly number[]): boolean {
    const seen = new Set<readonly number[]>([from]);
    const waiting = [from];
    for (let cluster = waiting.pop(); cluster !== undefined; cluster = waiting.pop())
      for (const node of cluster)
        for (const reader of itemAt(this.#readers, node)) {
          const next = this.membersOf(reader);
          if (next === to && cluster !== from) return true;
          if (next === to || seen.has(next)) continue;
          seen.add(next);
          waiting.push(next);
        }
    return false;
  }
}
