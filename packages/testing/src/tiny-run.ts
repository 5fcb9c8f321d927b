/**
 * The smallest run that passes the rules, as a person would write it: 9 sequences a step, so that every step holds all
 * sources. What it means is up to `resolveRunConfig`, which this package does not know.
 */
export const tinyRun = {
  recipe: 'tiny',
  steps: 6,
  workers: 2,
  globalBatchSize: 9,
  microbatchSize: 1,
  model: {
    sequenceLength: 16,
    vision: { imageSize: 8, patchSize: 4, width: 8, depth: 1, heads: 2, feedForwardWidth: 8 },
    connector: { tokensPerImage: 4 },
    decoder: { width: 8, depth: 1, heads: 2, feedForwardWidth: 8 },
  },
  data: { directory: 'data' },
  optimizer: { learningRate: 1e-3, warmupSteps: 0 },
  checkpoint: { everySteps: 2, keepLast: 5 },
};
