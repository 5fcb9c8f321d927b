import { describe, expect, it } from 'vitest';
import { tinyModel, tinyMoeModel, withMoe } from '../../test-support/tiny-model.js';
import { moeLayerIndices, moeShape } from './moe-shape.js';

it('every run of everyLayers layers ends with an MoE layer', () => {
  const decoder = (everyLayers: number) => withMoe(tinyMoeModel, { everyLayers }).decoder;
  expect(moeLayerIndices({ ...decoder(1), depth: 4 })).toEqual([0, 1, 2, 3]);
  expect(moeLayerIndices({ ...decoder(2), depth: 6 })).toEqual([1, 3, 5]);
  expect(moeLayerIndices({ ...decoder(4), depth: 9 })).toEqual([3, 7]);
  expect(moeLayerIndices(tinyModel.decoder)).toEqual([]);
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
