import { type RunConfig, resolveRunConfig } from '@weft/config';
import { countParameters, modelParameters } from '@weft/model';
import { recipeInput, recipes } from '@weft/recipes';
import { parameterCounts } from '@weft/scaling';
import { describe, expect, it } from 'vitest';

type Model = RunConfig['model'];

/** The scalars of all declared tensors whose name fits. */
function countTensors(model: Model, fits: (name: string) => boolean = () => true): number {
  return modelParameters(model)
    .filter(({ name }) => fits(name))
    .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
}

function expectAgreement(model: Model): void {
  const counts = parameterCounts(model);
  const isEmbedding = (name: string) => name === 'decoder/embedding' || name === 'decoder/head';
  expect(counts.total).toBe(countTensors(model));
  expect(counts.vision).toBe(countTensors(model, (name) => name.startsWith('vision/')));
  expect(counts.connector).toBe(countTensors(model, (name) => name.startsWith('connector/')));
  expect(counts.decoder).toBe(countTensors(model, (name) => name.startsWith('decoder/')));
  expect(counts.decoderEmbedding).toBe(countTensors(model, isEmbedding));
  expect(counts.nonEmbedding).toBe(countTensors(model, (name) => name.startsWith('decoder/') && !isEmbedding(name)));
  const { total, decoder, decoderNonEmbedding } = countParameters(model);
  expect([counts.total, counts.decoder, counts.nonEmbedding]).toEqual([total, decoder, decoderNonEmbedding]);
}

describe('the formulas of @weft/scaling count the tensors of the built model', () => {
  it.each(Object.keys(recipes))('of the recipe %s', (name) => {
    expectAgreement(resolveRunConfig(recipeInput(name)).model);
  });

  it.each([1, 2, 3])('with experts in every %d. layer, and what a token uses of them', (everyLayers) => {
    const { model } = resolveRunConfig(recipeInput('debugTiny'));
    const dense = parameterCounts(model);
    const { width, depth, feedForwardWidth } = model.decoder;
    const withExperts = (experts: number): Model => {
      const moe = { ...SPARSE, experts, everyLayers };
      return { ...model, decoder: { ...model.decoder, moe } };
    };
    expectAgreement(withExperts(8));
    const eight = parameterCounts(withExperts(8));
    const sparseLayers = Math.floor(depth / everyLayers);
    expect(eight.backbone).toBe(dense.backbone);
    expect(eight.total - eight.active).toBe(sparseLayers * 6 * 3 * width * feedForwardWidth);
    expect(eight.nonEmbedding - eight.activeNonEmbedding).toBe(eight.total - eight.active);
    const two = parameterCounts(withExperts(2));
    expect(two.active).toBe(two.total);
  });

  it('for attention with fewer keys than queries, with and without QK-norm, and all connectors', () => {
    const { model } = resolveRunConfig(recipeInput('debugTiny'));
    for (const keyValueHeads of [1, 2, 4])
      for (const qkNorm of [true, false])
        for (const kind of ['averagePool', 'attentionPool', 'cAbstractor'] as const)
          for (const depth of [1, 3])
            expectAgreement({
              ...model,
              connector: { ...model.connector, kind, depth, hiddenWidth: 40 },
              decoder: { ...model.decoder, keyValueHeads, qkNorm },
            });
  });

  it('of every variant in which published encoders and decoders differ', () => {
    const { model } = resolveRunConfig(recipeInput('debugTiny'));
    const vision = { ...model.vision, classToken: true, inputNorm: true, keyBias: true, featureLayer: 1 };
    const decoder = { ...model.decoder, headWidth: 48, qkvBias: true, tiedEmbeddings: true };
    expectAgreement({ ...model, vision, decoder });
    expectAgreement({ ...model, vision: { ...vision, patchBias: false, outputNorm: false } });
  });
});

const SPARSE = {
  capacityFactor: 2,
  groupSize: 0,
  loadBalanceWeight: 0.01,
  routerZWeight: 0.001,
  jitter: 0,
  exchangePrecision: 'fp32',
} as const;
