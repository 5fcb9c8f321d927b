import { DEFAULT_DIVERGENCE, DEFAULT_SOURCE_KINDS, DEFAULT_STRAGGLERS } from '@weft/config';
import type { WholeConfig } from './whole-config.js';

/**
 * The smallest run that learns, for machines without a TensorFlow library: tfjs in pure JavaScript
 * does a few dozen tokens per second on a model of five million parameters. No number is a fact of the paper.
 */
export function debugNano(): WholeConfig {
  return {
    recipe: 'debugNano',
    seed: 17,
    steps: 60,
    workers: 2,
    globalBatchSize: 4,
    microbatchSize: 2,
    precision: 'fp32',
    model: {
      sequenceLength: 64,
      vision: { imageSize: 16, patchSize: 8, width: 32, depth: 1, heads: 2, feedForwardWidth: 64 },
      connector: { kind: 'averagePool', tokensPerImage: 4, hiddenWidth: 32, depth: 1 },
      decoder: {
        vocabularySize: 260,
        width: 32,
        depth: 2,
        heads: 2,
        keyValueHeads: 2,
        feedForwardWidth: 96,
        ropeTheta: 10_000,
        qkNorm: false,
        normEpsilon: 1e-5,
        moe: null,
      },
    },
    data: {
      directory: '.weft/data/demo',
      tokenizer: 'bytes',
      sources: DEFAULT_SOURCE_KINDS,
      weights: { captioned: 4, interleaved: 4, text: 1 },
      imagesPerSequence: 2,
      prefetchSteps: 1,
    },
    optimizer: {
      learningRate: 1e-2,
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
