import { isEncoderTask, resolveLayers, viewsPerPicture } from '@weft/config';
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

  it('mixes 4:4:1, or trains on pairs or conversations alone, and clips at a norm of 1', () => {
    const pairs = { captioned: 1, interleaved: 0, text: 0 };
    const pretraining = isEncoderTask(config.task) ? pairs : { captioned: 4, interleaved: 4, text: 1 };
    expect(config.data.weights).toEqual(name.endsWith('-sft') ? { conversations: 1 } : pretraining);
    expect(config.optimizer.clipNorm).toBe(1);
  });
});

it('an unknown recipe names the nearest and lists the others', () => {
  expect(() => recipe('debug-tinny')).toThrow(
    expect.objectContaining({
      message: 'there is no recipe "debug-tinny"',
      hint: 'write debugTiny, or choose another of debugNano, moeTiny, mm1Tiny, clip-tiny, aim-tiny, mm1-1b, mm1-3b, mm1-7b, mm1-30b, mm1-3b-moe-64e, mm1-7b-moe-32e, mm1-tiny-sft, mm1-sft, clip-vit-l-14-336, clip-vit-h-14-378, aim-600m, aim-1b, aim-3b',
    }),
  );
  expect(() => recipe('constructor')).toThrow(expect.objectContaining({ code: 'not_found' }));
  expect(() => recipe('constructor')).toThrow(
    expect.objectContaining({
      hint: 'choose one of debugTiny, debugNano, moeTiny, mm1Tiny, clip-tiny, aim-tiny, mm1-1b, mm1-3b, mm1-7b, mm1-30b, mm1-3b-moe-64e, mm1-7b-moe-32e, mm1-tiny-sft, mm1-sft, clip-vit-l-14-336, clip-vit-h-14-378, aim-600m, aim-1b, aim-3b',
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

it('the model of the ablations has their encoder, connector and length', () => {
  expect(recipe('mm1-1b')).toMatchObject({
    steps: 200_000,
    model: {
      vision: { imageSize: 336, patchSize: 14, width: 1024, depth: 24, heads: 16 },
      connector: { kind: 'cAbstractor', tokensPerImage: 144 },
      decoder: { width: 2048, depth: 24 },
    },
  });
});

it('takes every connector of the ablations, with 64 and 144 tokens, at 224, 336 and 378 pixels', () => {
  for (const kind of ['averagePool', 'attentionPool', 'cAbstractor'] as const)
    for (const tokensPerImage of [64, 144])
      for (const imageSize of [224, 336, 378]) {
        const model = { vision: { imageSize }, connector: { kind, tokensPerImage } };
        const config = resolveLayers([{ value: recipeInput('mm1-1b') }, { value: { model } }]);
        expect(config.model).toMatchObject(model);
      }
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

it('fine-tuning holds the numbers of the paper: 720 positions a picture of 1344 pixels, and nothing frozen', () => {
  const { model, data, ...run } = recipe('mm1-sft');
  expect(run).toMatchObject({
    ...{ steps: 10_000, globalBatchSize: 256 },
    optimizer: { kind: 'adafactor', learningRate: 1e-5, finalLearningRateRatio: 0, learningRateFactors: {} },
  });
  expect(model).toMatchObject({ sequenceLength: 2048, vision: { imageSize: 672 }, connector: { tokensPerImage: 144 } });
  expect(data.images.subImages).toEqual({ rows: 2, columns: 2 });
  expect(viewsPerPicture(data.images) * model.connector.tokensPerImage).toBe(720);
  expect(recipe('mm1-tiny-sft').model.decoder).toEqual(recipe('debugTiny').model.decoder);
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
    const { model, expertWorkers, ...run } = recipe(name);
    // An expert of every layer in each expert worker.
    expect(expertWorkers).toBe(experts);
    const dense = recipe(backbone);
    expect(model.decoder.moe).toMatchObject({ experts, everyLayers, loadBalanceWeight: 0.01, routerZWeight: 0.001 });
    expect({
      ...run,
      recipe: backbone,
      expertWorkers: 0,
      model: { ...model, decoder: { ...model.decoder, moe: null } },
    }).toEqual(dense);
  }
});

it('the proxy of MM1-3B-MoE counts the paper’s 64 B', () => {
  const { width, depth, feedForwardWidth } = recipe('mm1-3b-moe-64e').model.decoder;
  const dense = depth * (4 * width ** 2 + 3 * width * feedForwardWidth);
  const extra = (depth / 2) * 63 * 3 * width * feedForwardWidth;
  expect((dense + extra) / 1e9).toBeCloseTo(63.8, 1);
});

it('the encoders hold the shapes of the paper’s ablations', () => {
  expect(recipe('clip-vit-l-14-336')).toMatchObject({
    task: { kind: 'contrastive', text: { vocabularySize: 49_408 } },
    model: { sequenceLength: 77, vision: { imageSize: 336, patchSize: 14, width: 1024, depth: 24, heads: 16 } },
  });
  expect(recipe('clip-vit-h-14-378')).toMatchObject({
    task: { embeddingWidth: 1024, text: { width: 1024, depth: 24, heads: 16, activation: 'quickGelu' } },
    model: { vision: { imageSize: 378, patchSize: 14, width: 1280, depth: 32, heads: 16, classToken: true } },
  });
  for (const [name, width, heads] of [
    ['aim-600m', 1536, 12],
    ['aim-1b', 2048, 16],
    ['aim-3b', 3072, 24],
  ] as const)
    expect(recipe(name)).toMatchObject({
      task: { kind: 'reconstructive' },
      model: { vision: { imageSize: 224, patchSize: 14, width, depth: 24, heads, activation: 'gelu' } },
    });
});

it('the small encoders are those of debugTiny, so that their checkpoints begin it', () => {
  for (const name of ['clip-tiny', 'aim-tiny'])
    expect(recipe(name).model.vision).toEqual(recipe('debugTiny').model.vision);
});
