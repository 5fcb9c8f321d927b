import { DEFAULT_DIVERGENCE, DEFAULT_SOURCE_KINDS, DEFAULT_STRAGGLERS } from '@weft/config';
import type { WholeConfig } from './whole-config.js';

/**
 * The model of MM1's ablations: a decoder of 1.2 B non-embedding parameters, a CLIP ViT-L/14 at 336 pixels, a C-Abstractor
 * with 144 tokens an image, 200,000 steps. The shape of the decoder is a public proxy of the same size (24 layers of width
 * 2048): the paper publishes none. The learning rate is what the paper's law gives for it, 8.6e-5.
 */
export function mm1_1b(): WholeConfig {
  const whole = mm1('mm1-1b', 8.6e-5, { width: 2048, depth: 24, heads: 32, feedForwardWidth: 5632 });
  const vision = { imageSize: 336, patchSize: 14, width: 1024, depth: 24, heads: 16, feedForwardWidth: 4096 };
  return { ...whole, model: { ...whole.model, vision } };
}

/**
 * MM1-3B. The shape of the decoder is a public proxy of the same size (26 layers of width 3072 with full multi-head
 * attention hold 2.9 B non-embedding parameters): the paper publishes none. The learning rate is the paper's, 6e-5.
 */
export function mm1_3b(): WholeConfig {
  return mm1('mm1-3b', 6e-5, { width: 3072, depth: 26, heads: 24, feedForwardWidth: 8064 });
}

/**
 * MM1-7B. The shape of the decoder is a public proxy of the same size (32 layers of width 4096, 6.5 B parameters):
 * the paper publishes none. The learning rate is the paper's, 4e-5.
 */
export function mm1_7b(): WholeConfig {
  return mm1('mm1-7b', 4e-5, { width: 4096, depth: 32, heads: 32, feedForwardWidth: 11_008 });
}

/**
 * MM1-30B. The shape of the decoder is a guess (48 layers of width 7168, 29.6 B non-embedding parameters): no source
 * publishes one. The learning rate is the 2e-5 the paper's appendix used; its law predicts 2.2e-5.
 */
export function mm1_30b(): WholeConfig {
  return mm1('mm1-30b', 2e-5, { width: 7168, depth: 48, heads: 56, feedForwardWidth: 19_200 });
}

type Shape = Pick<WholeConfig['model']['decoder'], 'width' | 'depth' | 'heads' | 'feedForwardWidth'>;

/**
 * What all sizes share. Facts of the paper: 200,000 steps of 512 sequences of 4096 positions, up to 16 images of
 * 378 pixels a sequence, 144 decoder tokens an image, C-Abstractor connector, ViT-H/14 encoder (32 layers of width
 * 1280, 16 heads), linear warm-up of 2,000 steps, cosine to 10 % of the peak, weight decay 0.1·learningRate.
 * After the framework it was trained with: betas 0.9 and 0.95, epsilon 1e-8, clipping at a global norm of 1.
 * Public proxies: vocabulary of 32,768, rotary positions, QK-norm, norm epsilon 1e-5; the connector's depth and width
 * are those of the work it was taken from. Ours: seed, workers, microbatch, precision and checkpoints (undisclosed),
 * and the mixture 4:4:1, which the paper rounds to 45:45:10 (`--set data.weights=45:45:10`).
 */
function mm1(recipe: string, learningRate: number, shape: Shape): WholeConfig {
  return {
    recipe,
    seed: 0,
    steps: 200_000,
    workers: 64,
    globalBatchSize: 512,
    microbatchSize: 1,
    precision: 'bf16',
    model: {
      sequenceLength: 4096,
      vision: { imageSize: 378, patchSize: 14, width: 1280, depth: 32, heads: 16, feedForwardWidth: 5120 },
      connector: { kind: 'cAbstractor', tokensPerImage: 144, hiddenWidth: 1024, depth: 3 },
      decoder: {
        vocabularySize: 32_768,
        ...shape,
        keyValueHeads: shape.heads,
        ropeTheta: 10_000,
        qkNorm: true,
        normEpsilon: 1e-5,
        moe: null,
      },
    },
    data: {
      directory: '.weft/data/mm1',
      tokenizer: '.weft/data/mm1/tokenizer.json',
      sources: DEFAULT_SOURCE_KINDS,
      weights: { captioned: 4, interleaved: 4, text: 1 },
      imagesPerSequence: 16,
      prefetchSteps: 4,
    },
    optimizer: {
      learningRate,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      clipNorm: 1,
      warmupSteps: 2000,
      finalLearningRateRatio: 0.1,
    },
    checkpoint: { everySteps: 1000, keepLast: 5 },
    divergence: DEFAULT_DIVERGENCE,
    stragglers: DEFAULT_STRAGGLERS,
    engine: { backend: 'auto', threadsPerWorker: 0, mesh: 'auto' },
  };
}
