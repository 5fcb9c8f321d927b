import { DEFAULT_DIVERGENCE, DEFAULT_SOURCE_KINDS, DEFAULT_STRAGGLERS } from '@weft/config';
import type { WholeConfig } from './whole-config.js';

/**
 * The quickstart: about a million parameters that learn the demo data in a few minutes on two cores.
 * Every part of MM1 is there in small; none of the numbers is a fact of the paper.
 */
export function debugTiny(): WholeConfig {
  return {
    recipe: 'debugTiny',
    seed: 17,
    steps: 60,
    workers: 2,
    globalBatchSize: 8,
    microbatchSize: 4,
    precision: 'fp32',
    model: {
      sequenceLength: 128,
      vision: { imageSize: 32, patchSize: 8, width: 96, depth: 2, heads: 4, feedForwardWidth: 384 },
      connector: { kind: 'cAbstractor', tokensPerImage: 4, hiddenWidth: 96, depth: 1 },
      decoder: {
        vocabularySize: 260,
        width: 128,
        depth: 4,
        heads: 4,
        keyValueHeads: 4,
        feedForwardWidth: 384,
        ropeTheta: 10_000,
        qkNorm: true,
        normEpsilon: 1e-5,
        moe: null,
      },
    },
    data: {
      directory: '.weft/data/demo',
      tokenizer: 'bytes',
      sources: DEFAULT_SOURCE_KINDS,
      weights: { captioned: 4, interleaved: 4, text: 1 },
      imagesPerSequence: 8,
      prefetchSteps: 2,
    },
    optimizer: {
      learningRate: 3e-3,
      beta1: 0.9,
      beta2: 0.95,
      epsilon: 1e-8,
      clipNorm: 1,
      finalLearningRateRatio: 0.1,
    },
    checkpoint: { everySteps: 20, keepLast: 3 },
    divergence: DEFAULT_DIVERGENCE,
    stragglers: DEFAULT_STRAGGLERS,
    engine: { backend: 'auto', threadsPerWorker: 0 },
  };
}
