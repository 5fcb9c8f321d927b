import type { ModelConfig } from '@weft/config';
import type { tf } from '@weft/tensor';
import { describe, expect, it } from 'vitest';
import { pack, type Segment } from '../../test-support/pack.js';
import { distance, lookup, numbers, randomParameters } from '../../test-support/tensors.js';
import { tinyModel, tinyMoeModel, withMoe } from '../../test-support/tiny-model.js';
import { lossParts } from '../loss.js';
import { modelParameters } from '../model-parameters.js';
import { decodeMoeStats, moeStatsLength } from './moe-stats.js';

type Sequence = readonly Segment[];

const FIRST: Sequence = [
  [1, { image: 'cat' }, 2, 3],
  [4, 5, 6],
];
const SECOND: Sequence = [[6, 0, 1, 1, 2, 3, 4]];
const EMPTY: Sequence = [];

function partsOf(model: ModelConfig, sequences: readonly Sequence[]) {
  const values = randomParameters(modelParameters(model));
  const parts = lossParts(model, lookup(values), pack(model, sequences));
  return {
    sums: [parts.objective, parts.crossEntropy].flatMap(numbers),
    stats: numbers(parts.moeStats as tf.Tensor),
  };
}

const added = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value + (b[i] ?? Number.NaN));

describe('a model with MoE layers', () => {
  it('sums the same over microbatches, however the step is cut into them, when groups are sequences', () => {
    const model = withMoe(tinyMoeModel, { everyLayers: 1, capacityFactor: 1, groupSize: tinyModel.sequenceLength });
    const together = partsOf(model, [FIRST, SECOND]);
    const [first, second] = [partsOf(model, [FIRST]), partsOf(model, [SECOND])];
    expect(distance(together.sums, added(first.sums, second.sums))).toBeLessThan(1e-4);
    expect(distance(together.stats, added(first.stats, second.stats))).toBeLessThan(1e-4);
    expect(decodeMoeStats(model, together.stats, 12)[0]?.droppedShare).toBeGreaterThan(0);
  });

  it('neither routes nor counts padding', () => {
    const model = withMoe(tinyMoeModel, { groupSize: tinyModel.sequenceLength });
    expect(partsOf(model, [SECOND, EMPTY])).toEqual(partsOf(model, [SECOND]));
    const nothing = partsOf(model, [EMPTY]);
    expect(nothing.sums).toEqual([0, 0]);
    expect(nothing.stats).toEqual(Array(moeStatsLength(model)).fill(0));
    const [stats] = decodeMoeStats(model, partsOf(model, [SECOND]).stats, 6);
    expect(stats).toMatchObject({ layer: 1, tokens: 7 });
    expect(stats?.routed.reduce((sum, each) => sum + each, 0)).toBe(14);
  });

  it('adds the mean of its layers’ router losses to the loss, each once per text target', () => {
    const weights = { loadBalanceWeight: 0.3, routerZWeight: 0.2, everyLayers: 1 };
    const model = withMoe(tinyMoeModel, weights);
    const targets = 10;
    const { sums, stats } = partsOf(model, [FIRST, SECOND]);
    const layers = decodeMoeStats(model, stats, targets);
    const perTarget = layers.map(({ loadBalanceLoss, routerZLoss }) => 0.3 * loadBalanceLoss + 0.2 * routerZLoss);
    const mean = perTarget.reduce((sum, each) => sum + each, 0) / layers.length;
    expect(((sums[0] ?? 0) - (sums[1] ?? 0)) / targets).toBeCloseTo(mean, 4);
  });
});
