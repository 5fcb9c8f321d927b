import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Clusters } from './clusters.js';

test('a node and its reader become one cluster', () => {
  const clusters = new Clusters([[], [0], [1]]);
  clusters.merge(0, 1);
  expect([0, 1, 2].map((node) => clusters.membersOf(node))).toEqual([[0, 1], [0, 1], [2]]);
});

test('a way round through a third keeps two nodes apart, until it is part of the cluster', () => {
  const clusters = new Clusters([[], [0], [0, 1]]);
  clusters.merge(0, 2);
  expect(clusters.membersOf(0)).toEqual([0]);
  clusters.merge(0, 1);
  clusters.merge(1, 2);
  expect(clusters.membersOf(0)).toEqual([0, 1, 2]);
});

test('a way round is also found through other clusters', () => {
  // 1 and 3 are one cluster: 0 → {1, 3} → 4, although nothing leads from 0 through single nodes to 4.
  const clusters = new Clusters([[], [0], [], [1, 2], [0, 3], [0, 4]]);
  clusters.merge(1, 3);
  clusters.merge(0, 4);
  expect(clusters.membersOf(0)).toEqual([0]);
});

/** By node, the earlier nodes that it reads. */
const graphs = fc
  .array(fc.array(fc.nat(), { maxLength: 3 }), { minLength: 2, maxLength: 30 })
  .map((nodes) => nodes.map((reads, node) => (node === 0 ? [] : [...new Set(reads.map((read) => read % node))])));

test('whatever is merged, no cluster waits for itself', () => {
  fc.assert(
    fc.property(graphs, fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 40 }), (sources, picks) => {
      const clusters = new Clusters(sources);
      for (const [pick, which] of picks) {
        const node = pick % sources.length;
        const reads = sources[node] as readonly number[];
        if (reads.length > 0) clusters.merge(reads[which % reads.length] as number, node);
      }
      const waiting = new Set<readonly number[]>();
      const done = new Set<readonly number[]>();
      const visit = (cluster: readonly number[]): void => {
        if (done.has(cluster)) return;
        expect(waiting.has(cluster)).toBe(false);
        waiting.add(cluster);
        for (const source of cluster.flatMap((node) => sources[node] as readonly number[]))
          if (clusters.membersOf(source) !== cluster) visit(clusters.membersOf(source));
        done.add(cluster);
      };
      for (const node of sources.keys()) visit(clusters.membersOf(node));
    }),
  );
});
