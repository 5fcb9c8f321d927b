import type { ModelConfig } from '@weft/config';
import type { tf } from '@weft/tensor';
import { describe, expect, it } from 'vitest';
import { type Piece, pack } from '../../test-support/pack.js';
import { distance, lookup, numbers, randomParameters } from '../../test-support/tensors.js';
import { tinyModel, tinyMoeModel, withMoe } from '../../test-support/tiny-model.js';
import { countParameters } from '../count-parameters.js';
import { initialValue } from '../initial-value.js';
import { lossParts } from '../loss.js';
import { modelParameters } from '../model-parameters.js';
import { expertParameters } from './experts.js';
import { moeLayers, moeShape } from './moe-shape.js';
import { decodeMoeSignals, moeSignalsLength } from './moe-signals.js';
import { storedTensors } from './stored-tensors.js';

type Sequence = readonly Piece[];

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
    signals: numbers(parts.moeSignals as tf.Tensor),
  };
}

const added = (a: readonly number[], b: readonly number[]) => a.map((value, i) => value + (b[i] ?? Number.NaN));

describe('a sparse model', () => {
  it('sums the same over microbatches, however the step is cut into them, when groups are sequences', () => {
    const model = withMoe(tinyMoeModel, { everyLayers: 1, capacityFactor: 1, groupSize: tinyModel.sequenceLength });
    const together = partsOf(model, [FIRST, SECOND]);
    const [first, second] = [partsOf(model, [FIRST]), partsOf(model, [SECOND])];
    expect(distance(together.sums, added(first.sums, second.sums))).toBeLessThan(1e-4);
    expect(distance(together.signals, added(first.signals, second.signals))).toBeLessThan(1e-4);
    expect(decodeMoeSignals(model, together.signals, 12)[0]?.droppedShare).toBeGreaterThan(0);
  });

  it('neither routes nor counts padding', () => {
    const model = withMoe(tinyMoeModel, { groupSize: tinyModel.sequenceLength });
    expect(partsOf(model, [SECOND, EMPTY])).toEqual(partsOf(model, [SECOND]));
    const nothing = partsOf(model, [EMPTY]);
    expect(nothing.sums).toEqual([0, 0]);
    expect(nothing.signals).toEqual(Array(moeSignalsLength(model)).fill(0));
    const [signals] = decodeMoeSignals(model, partsOf(model, [SECOND]).signals, 6);
    expect(signals).toMatchObject({ layer: 1, tokens: 7 });
    expect(signals?.routed.reduce((sum, each) => sum + each, 0)).toBe(14);
  });

  it('adds the mean of its layers’ router losses to the loss, each once per text target', () => {
    const weights = { loadBalanceWeight: 0.3, routerZWeight: 0.2, everyLayers: 1 };
    const model = withMoe(tinyMoeModel, weights);
    const targets = 10;
    const { sums, signals } = partsOf(model, [FIRST, SECOND]);
    const layers = decodeMoeSignals(model, signals, targets);
    const perTarget = layers.map(({ loadBalanceLoss, routerZLoss }) => 0.3 * loadBalanceLoss + 0.2 * routerZLoss);
    const mean = perTarget.reduce((sum, each) => sum + each, 0) / layers.length;
    expect(((sums[0] ?? 0) - (sums[1] ?? 0)) / targets).toBeCloseTo(mean, 4);
  });

  it('has the experts where everyLayers says', () => {
    const decoder = (everyLayers: number) => withMoe(tinyMoeModel, { everyLayers }).decoder;
    expect(moeLayers({ ...decoder(1), depth: 4 })).toEqual([0, 1, 2, 3]);
    expect(moeLayers({ ...decoder(2), depth: 6 })).toEqual([1, 3, 5]);
    expect(moeLayers({ ...decoder(4), depth: 9 })).toEqual([3, 7]);
    expect(moeLayers(tinyModel.decoder)).toEqual([]);
  });

  it('counts what it holds and what one token meets', () => {
    const { width, feedForwardWidth, depth } = tinyModel.decoder;
    const expert = 3 * width * feedForwardWidth;
    const dense = countParameters(tinyModel);
    expect(dense).toMatchObject({ active: dense.total, experts: 0 });
    for (const everyLayers of [1, 2]) {
      const counts = countParameters(withMoe(tinyMoeModel, { everyLayers, experts: 7 }));
      const layers = depth / everyLayers;
      expect(counts.experts).toBe(layers * 7 * expert);
      expect(counts.total).toBe(dense.total + layers * (6 * expert + 7 * width));
      expect(counts.active).toBe(dense.total + layers * (expert + 7 * width));
    }
  });
});

describe('the slots of an expert', () => {
  const slots = (capacityFactor: number | 'dropless', groupSize: number) =>
    moeShape(withMoe(tinyMoeModel, { experts: 5, capacityFactor, groupSize }), 2);

  it('are AXLearn’s capacity in every group', () => {
    expect(slots(2, 0)).toEqual({ experts: 5, groups: 1, groupSize: 24, capacity: 9, slots: 9 });
    expect(slots(2, 8)).toEqual({ experts: 5, groups: 3, groupSize: 8, capacity: 3, slots: 9 });
    expect(slots(0.1, 4)).toMatchObject({ capacity: 1, slots: 6 });
  });

  it('are never more than the tokens', () => {
    expect(slots('dropless', 12)).toMatchObject({ capacity: 12, slots: 24 });
    expect(slots(100, 12)).toEqual(slots('dropless', 12));
  });
});

describe('an expert', () => {
  it('starts the same wherever it is placed', () => {
    const [gate] = expertParameters(tinyMoeModel);
    const [part] = expertParameters(tinyMoeModel, { first: 1, end: 3 });
    if (gate === undefined || part === undefined) throw new Error('there are no experts');
    expect(part.shape).toEqual([2, 8, 10]);
    expect(initialValue(part, 3)).toEqual(initialValue(gate, 3).slice(80, 240));
    const distinct = new Set(initialValue(gate, 3));
    expect(distinct.size).toBe(4 * 80);
  });

  it('is stored under a name of its own', () => {
    const stored = storedTensors('adam/m/decoder/layers/1/experts/down', [2, 10, 8], 1);
    expect(stored).toEqual([
      { name: 'adam/m/decoder/layers/1/experts/1/down', shape: [10, 8], offset: 0 },
      { name: 'adam/m/decoder/layers/1/experts/2/down', shape: [10, 8], offset: 80 },
    ]);
  });
});
