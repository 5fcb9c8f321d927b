import type { RunConfigInput } from '../run-config.js';

/** As little as a person may write of a run. */
export const smallestRun = {
  steps: 60,
  globalBatchSize: 8,
  model: {
    sequenceLength: 128,
    vision: { imageSize: 32, patchSize: 8, width: 64, depth: 1, heads: 4, feedForwardWidth: 256 },
    connector: { tokensPerImage: 4 },
    decoder: { width: 128, depth: 2, heads: 4, feedForwardWidth: 384 },
  },
  data: { directory: 'data' },
  optimizer: { learningRate: 3e-4 },
} as const satisfies RunConfigInput;
