import { BYTE_VOCABULARY_SIZE, type RunConfig } from './run-config.js';
import type { ParsedConfig } from './schema.js';

/** λ = 0.1·η for every MM1 model. */
const WEIGHT_DECAY_PER_LEARNING_RATE = 0.1;
/** MM1 warms up over 2,000 of its 200,000 steps; a short run must not spend all its steps on it. */
const LONGEST_WARMUP_STEPS = 2000;
const WARMUP_PART = 0.05;

/** Fills in the defaults that depend on other fields. */
export function complete(parsed: ParsedConfig): RunConfig {
  const { decoder } = parsed.model;
  const { optimizer } = parsed;
  return {
    ...parsed,
    microbatchSize: parsed.microbatchSize ?? Math.ceil(parsed.globalBatchSize / parsed.workers),
    model: {
      ...parsed.model,
      decoder: {
        ...decoder,
        vocabularySize: decoder.vocabularySize ?? BYTE_VOCABULARY_SIZE,
        keyValueHeads: decoder.keyValueHeads ?? decoder.heads,
      },
    },
    optimizer: {
      ...optimizer,
      weightDecay: optimizer.weightDecay ?? roundedProduct(WEIGHT_DECAY_PER_LEARNING_RATE, optimizer.learningRate),
      warmupSteps: optimizer.warmupSteps ?? Math.min(LONGEST_WARMUP_STEPS, Math.floor(parsed.steps * WARMUP_PART)),
    },
  };
}

/** A product without the dust of binary fractions: 0.1·3e-4 is 3e-5, not 3.0000000000000004e-5. */
const roundedProduct = (left: number, right: number) => Number((left * right).toPrecision(12));
