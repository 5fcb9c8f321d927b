import { describe, expect, test } from 'vitest';
import { modelFlops } from './model-flops.js';
import { benchModel, SPARSE_MODELS } from './models.js';
import { syntheticBatch } from './synthetic-batch.js';

function imagesOf(name: Parameters<typeof benchModel>[0]): number {
  const model = benchModel(name);
  const index = syntheticBatch(model, 0).imageTokenIndex_BT ?? [];
  return new Set(Array.from(index, (each) => Math.ceil(each / (model.images?.connector.tokensPerImage ?? 1)))).size - 1;
}

test('a batch has an image in every slot, or as many images as its model says', () => {
  expect(imagesOf('mm1-tiny')).toBe(64);
  for (const name of SPARSE_MODELS) expect(imagesOf(name), name).toBe(benchModel(name).images?.present?.images);
});

describe('the models of sparse batches', () => {
  test('have room for their images', () => {
    for (const name of SPARSE_MODELS) {
      const { images = 0, computed = 0 } = benchModel(name).images?.present ?? {};
      expect(computed).toBeGreaterThanOrEqual(images);
    }
  });

  test('include one whose encoder costs as much as its decoder with an image in every slot', () => {
    const model = benchModel('mm1-even-demo');
    const decoder = modelFlops(benchModel('mm1-tiny-text'));
    const whole = modelFlops({ ...model, images: model.images && { ...model.images, present: null } });
    expect(Math.abs(whole / decoder - 2)).toBeLessThan(0.1);
  });
});
