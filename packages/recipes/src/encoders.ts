import { DEFAULT_DIVERGENCE, DEFAULT_STRAGGLERS } from '@weft/config';
import { debugTiny } from './debug-tiny.js';
import type { EncoderConfig, WholeConfig } from './whole-config.js';

/** Captioned sources alone, under the names of the default ones. */
const CAPTIONED = { captioned: 1, interleaved: 0, text: 0 } as const;

/**
 * CLIP in small: debugTiny's vision encoder, pooled by attention so that it has no class token, beside a text tower of the
 * same size, on the captioned demo data. Its checkpoint begins debugTiny: `--init-from vision=<checkpoint>`. No number is a
 * fact of the paper.
 */
export function clipTiny(): EncoderConfig {
  return {
    ...tiny('clip-tiny'),
    task: {
      kind: 'contrastive',
      embeddingWidth: 64,
      pooling: 'attentionPool',
      text: { vocabularySize: 260, width: 96, depth: 2, heads: 4, feedForwardWidth: 384 },
    },
    model: { sequenceLength: 64, vision: debugTiny().model.vision },
  };
}

/** AIM in small: debugTiny's vision encoder predicts the patches of the captioned demo images. No number is a fact of the paper. */
export function aimTiny(): EncoderConfig {
  return {
    ...tiny('aim-tiny'),
    task: { kind: 'reconstructive', headWidth: 96, headDepth: 2 },
    model: { vision: debugTiny().model.vision },
  };
}

function tiny(recipe: string): Omit<EncoderConfig, 'task' | 'model'> {
  const { model: _, data, optimizer, ...rest } = debugTiny();
  const { imagesPerSequence: __, ...pairs } = data;
  return {
    ...rest,
    recipe,
    steps: 400,
    globalBatchSize: 64,
    microbatchSize: 32,
    data: { ...pairs, weights: CAPTIONED },
    optimizer: { ...optimizer, learningRate: 1e-3 },
    checkpoint: { everySteps: 100, keepLast: 3 },
  };
}

/**
 * The encoder of MM1's ablations: ViT-L/14 at 336 pixels (24 layers of width 1024, 16 heads), trained by CLIP. Its text
 * tower, of which MM1 says nothing, is that of public ViT-L/14 models: 12 layers of width 768, 12 heads, 768 elements
 * compared.
 */
export function clipVitL14(): EncoderConfig {
  return clip('clip-vit-l-14-336', {
    vision: { imageSize: 336, width: 1024, depth: 24, heads: 16, feedForwardWidth: 4096 },
    text: { width: 768, depth: 12, heads: 12, feedForwardWidth: 3072 },
    embeddingWidth: 768,
  });
}

/**
 * MM1's encoder: ViT-H/14 at 378 pixels (32 layers of width 1280, 16 heads), trained by CLIP. Its text tower is that of the
 * public model of the same recipe: 24 layers of width 1024, 16 heads, 1024 elements compared.
 */
export function clipVitH14(): EncoderConfig {
  return clip('clip-vit-h-14-378', {
    vision: { imageSize: 378, width: 1280, depth: 32, heads: 16, feedForwardWidth: 5120 },
    text: { width: 1024, depth: 24, heads: 16, feedForwardWidth: 4096 },
    embeddingWidth: 1024,
  });
}

/** AIM-600M of MM1's ablations: 24 layers of width 1536, 12 heads. */
export const aim600m = (): EncoderConfig => aim('aim-600m', 1536, 12);
/** AIM-1B of MM1's ablations: 24 layers of width 2048, 16 heads. */
export const aim1b = (): EncoderConfig => aim('aim-1b', 2048, 16);
/** AIM-3B of MM1's ablations: 24 layers of width 3072, 24 heads. */
export const aim3b = (): EncoderConfig => aim('aim-3b', 3072, 24);

interface ClipShape {
  readonly vision: Omit<WholeConfig['model']['vision'], 'patchSize'>;
  readonly text: Pick<WholeConfig['model']['decoder'], 'width' | 'depth' | 'heads' | 'feedForwardWidth'>;
  readonly embeddingWidth: number;
}

/**
 * What both CLIP encoders share. Facts: patches of 14 pixels, captions of 77 tokens, a vocabulary of 49,408, QuickGELU, a
 * learned scale of at most 100. As in the published encoders: a class token, a norm before the first block, patches without
 * a bias, 1/0.07 as the first scale. No source tells MM1's batch, steps and rates of this stage: those here are Weft's
 * choice, and so is the mixture.
 */
function clip(recipe: string, { vision, text, embeddingWidth }: ClipShape): EncoderConfig {
  return {
    ...large(recipe, { globalBatchSize: 32_768, microbatchSize: 128, learningRate: 5e-4, steps: 150_000 }),
    task: {
      kind: 'contrastive',
      embeddingWidth,
      pooling: 'classToken',
      text: { vocabularySize: 49_408, ...text },
    },
    model: {
      sequenceLength: 77,
      vision: { patchSize: 14, ...vision, classToken: true, inputNorm: true, patchBias: false },
    },
  };
}

/**
 * What the three AIM encoders share. After the code published with AIM: images of 224 pixels, patches of 14, 24 layers,
 * GELU, norms with an epsilon of 1e-6, no class token. Weft's encoder learns its positions and has biases, where AIM's has
 * sines and none. Unconfirmed: a head of 12 perceptrons of width 2048, and the batch, steps and rates, which are Weft's choice.
 */
function aim(recipe: string, width: number, heads: number): EncoderConfig {
  return {
    ...large(recipe, { globalBatchSize: 4096, microbatchSize: 64, learningRate: 1e-3, steps: 500_000 }),
    task: { kind: 'reconstructive', headWidth: 2048, headDepth: 12 },
    model: {
      vision: {
        ...{ imageSize: 224, patchSize: 14, width, depth: 24, heads, feedForwardWidth: 4 * width },
        ...{ activation: 'gelu', normEpsilon: 1e-6 },
      },
    },
  };
}

interface LargeRun {
  readonly globalBatchSize: number;
  readonly microbatchSize: number;
  readonly learningRate: number;
  readonly steps: number;
}

function large(recipe: string, { learningRate, ...run }: LargeRun): Omit<EncoderConfig, 'task' | 'model'> {
  return {
    ...run,
    recipe,
    seed: 0,
    workers: 64,
    divergence: DEFAULT_DIVERGENCE,
    stragglers: DEFAULT_STRAGGLERS,
    precision: 'bf16',
    data: {
      directory: '.weft/data/mm1',
      tokenizer: '.weft/data/mm1/tokenizer.json',
      sources: { captioned: 'captioned', interleaved: 'interleaved', text: 'text' },
      weights: CAPTIONED,
      prefetchSteps: 2,
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
    engine: { backend: 'auto', threadsPerWorker: 0 },
  };
}
