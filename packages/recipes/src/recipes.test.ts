import { resolveLayers } from '@weft/config';
import { describe, expect, it } from 'vitest';
import { recipe, recipeInput, recipes } from './recipes.js';

describe.each(Object.keys(recipes))('the recipe %s', (name) => {
  const config = recipe(name);

  it('resolves, carries its own name, and survives JSON', () => {
    expect(config.recipe).toBe(name);
    expect(JSON.parse(JSON.stringify(config))).toEqual(config);
  });

  it('decays weights by a tenth of its learning rate', () => {
    expect(config.optimizer.weightDecay).toBeCloseTo(0.1 * config.optimizer.learningRate, 12);
  });

  it('mixes 4:4:1 and clips at a norm of 1', () => {
    expect(config.data.weights).toEqual({ captioned: 4, interleaved: 4, text: 1 });
    expect(config.optimizer.clipNorm).toBe(1);
  });
});

it('an unknown recipe names the nearest and lists the others', () => {
  expect(() => recipe('debug-tinny')).toThrow(
    expect.objectContaining({
      message: 'there is no recipe "debug-tinny"',
      hint: 'write debugTiny, or choose another of debugNano, moeTiny, mm1Tiny, mm1-3b, mm1-7b, mm1-30b, mm1-3b-moe-64e, mm1-7b-moe-32e',
    }),
  );
  expect(() => recipe('constructor')).toThrow(expect.objectContaining({ code: 'not_found' }));
  expect(() => recipe('constructor')).toThrow(
    expect.objectContaining({
      hint: 'choose one of debugTiny, debugNano, moeTiny, mm1Tiny, mm1-3b, mm1-7b, mm1-30b, mm1-3b-moe-64e, mm1-7b-moe-32e',
    }),
  );
});

it('a changed learning rate or length takes the weight decay and the warm-up with it', () => {
  const config = resolveLayers([
    { value: recipeInput('debugTiny') },
    { value: { steps: 200, optimizer: { learningRate: 3e-4 } } },
  ]);
  expect(config.optimizer).toMatchObject({ learningRate: 3e-4, weightDecay: 3e-5, warmupSteps: 10 });
});

it('the big ones hold the numbers of the paper', () => {
  for (const [name, learningRate] of [
    ['mm1-3b', 6e-5],
    ['mm1-7b', 4e-5],
    ['mm1-30b', 2e-5],
  ] as const) {
    expect(recipe(name)).toMatchObject({
      steps: 200_000,
      globalBatchSize: 512,
      model: {
        sequenceLength: 4096,
        vision: { imageSize: 378, patchSize: 14, width: 1280, depth: 32, heads: 16 },
        connector: { kind: 'cAbstractor', tokensPerImage: 144 },
      },
      data: { imagesPerSequence: 16 },
      optimizer: { learningRate, warmupSteps: 2000, finalLearningRateRatio: 0.1, beta1: 0.9, beta2: 0.95 },
    });
  }
});

it('the proxies have the sizes their names promise', () => {
  // Attention 4·d², SwiGLU 3·d·f, per layer; embeddings left out, as in the law of the learning rate.
  const billions = (name: string) => {
    const { width, depth, feedForwardWidth } = recipe(name).model.decoder;
    return (depth * (4 * width ** 2 + 3 * width * feedForwardWidth)) / 1e9;
  };
  expect(billions('mm1-3b')).toBeCloseTo(2.91, 2);
  expect(billions('mm1-7b')).toBeCloseTo(6.48, 2);
  expect(billions('mm1-30b')).toBeCloseTo(29.7, 1);
});

it('the sparse ones hold the paper’s experts, on backbones that are left as they are', () => {
  for (const [name, backbone, experts, everyLayers] of [
    ['mm1-3b-moe-64e', 'mm1-3b', 64, 2],
    ['mm1-7b-moe-32e', 'mm1-7b', 32, 4],
  ] as const) {
    const { model, ...run } = recipe(name);
    const dense = recipe(backbone);
    expect(model.decoder.moe).toMatchObject({ experts, everyLayers, loadBalanceWeight: 0.01, routerZWeight: 0.001 });
    expect({ ...run, recipe: backbone, model: { ...model, decoder: { ...model.decoder, moe: null } } }).toEqual(dense);
  }
});

it('the proxy of MM1-3B-MoE counts the paper’s 64 B', () => {
  const { width, depth, feedForwardWidth } = recipe('mm1-3b-moe-64e').model.decoder;
  const dense = depth * (4 * width ** 2 + 3 * width * feedForwardWidth);
  const extra = (depth / 2) * 63 * 3 * width * feedForwardWidth;
  expect((dense + extra) / 1e9).toBeCloseTo(63.8, 1);
});
