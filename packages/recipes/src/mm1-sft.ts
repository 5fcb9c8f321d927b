import { debugTiny } from './debug-tiny.js';
import { mm1_3b } from './mm1.js';
import type { WholeConfig } from './whole-config.js';

/**
 * Supervised fine-tuning of MM1, here of the 3B model; begin it from a pre-trained one with `--init-from`. Facts of the paper:
 * 10,000 steps of 256 sequences of 2048 positions, AdaFactor, a peak learning rate of 1e-5, a cosine to 0, encoder and decoder
 * unfrozen, images of 672 pixels with the learned positions interpolated, and pictures of 1344 pixels as an overview and four
 * parts: 5 · 144 = 720 positions. Not known, and ours: warm-up and weight decay (the house rules), AdaFactor's constants (those
 * of its own paper), clipping (as in pre-training), and the chat template. The paper mixes about 1.45 M examples of many data
 * sets evenly: give each a source and its size as the weight in `data.sources` and `data.weights`.
 */
export function mm1Sft(): WholeConfig {
  const { model, data, optimizer, ...run } = mm1_3b();
  return {
    ...run,
    recipe: 'mm1-sft',
    steps: 10_000,
    globalBatchSize: 256,
    model: { ...model, sequenceLength: 2048, vision: { ...model.vision, imageSize: 672 } },
    data: {
      ...data,
      sources: { conversations: 'conversations' },
      weights: { conversations: 1 },
      imagesPerSequence: 10,
      images: { subImages: { rows: 2, columns: 2 } },
    },
    optimizer: {
      ...{ ...optimizer, kind: 'adafactor', learningRate: 1e-5, finalLearningRateRatio: 0 },
      warmupSteps: 500,
    },
  };
}

/**
 * Fine-tuning of `debugTiny` on the demo's 200 conversations, in small: every part of `mm1-sft` is there, pictures of 64 pixels
 * as an overview of 32 and four parts of 32. As the paper's it begins from what was trained before: `clip-tiny` for its encoder,
 * or `debugTiny`. None of the numbers is a fact of the paper.
 */
export function mm1TinySft(): WholeConfig {
  const { model, data, optimizer, ...run } = debugTiny();
  return {
    ...run,
    recipe: 'mm1-tiny-sft',
    steps: 1000,
    model: { ...model, sequenceLength: 256 },
    data: {
      ...data,
      sources: { conversations: 'conversations' },
      weights: { conversations: 1 },
      imagesPerSequence: 15,
      images: { subImages: { rows: 2, columns: 2 } },
    },
    // At 3e-3 the connector came to map a third of the pictures to the same tokens, and never recovered.
    optimizer: { ...optimizer, kind: 'adafactor', learningRate: 1e-3, finalLearningRateRatio: 0 },
    checkpoint: { everySteps: 100, keepLast: 2 },
  };
}
