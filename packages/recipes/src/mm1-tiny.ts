import { debugTiny } from './debug-tiny.js';
import type { WholeConfig } from './whole-config.js';

/**
 * The benchmark: a decoder of four layers of width 256, about five million parameters with its vocabulary of 4,096,
 * the size at which Weft is measured against other frameworks on a few cores. No number is a fact of the paper.
 */
export function mm1Tiny(): WholeConfig {
  const tiny = debugTiny();
  return {
    ...tiny,
    recipe: 'mm1Tiny',
    steps: 200,
    model: {
      sequenceLength: 128,
      vision: { imageSize: 32, patchSize: 8, width: 128, depth: 2, heads: 4, feedForwardWidth: 512 },
      connector: { kind: 'cAbstractor', tokensPerImage: 4, hiddenWidth: 128, depth: 1 },
      decoder: {
        vocabularySize: 4096,
        width: 256,
        depth: 4,
        heads: 4,
        keyValueHeads: 4,
        feedForwardWidth: 768,
        ropeTheta: 10_000,
        qkNorm: true,
        normEpsilon: 1e-5,
        moe: null,
      },
    },
    optimizer: { ...tiny.optimizer, learningRate: 1e-3 },
    checkpoint: { everySteps: 100, keepLast: 2 },
  };
}
