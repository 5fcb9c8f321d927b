import type { OptimizerConfig } from '@weft/config';

/** AdamW, fully decoupled, clipped at 1, at a constant rate, so that losses can be compared step by step. */
export const OPTIMIZER: OptimizerConfig = {
  learningRate: 1e-3,
  weightDecay: 1e-4,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  clipNorm: 1,
  warmupSteps: 0,
  finalLearningRateRatio: 1,
};
