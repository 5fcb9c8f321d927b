import {
  type ConnectorConfig,
  DEFAULT_ADAFACTOR,
  DEFAULT_DECODER,
  type DecoderConfig,
  type DecoderVariant,
  type ModelConfig,
  type OptimizerConfig,
  type VisionConfig,
} from '@weft/config';
import { decoderParameters, modelParameters, type ParameterSpec } from '@weft/model';
import { recipe } from '@weft/recipes';
import type { Recompute } from '@weft/tensor';

/** What a multimodal model has beside its decoder. */
export interface ImageParts {
  readonly vision: VisionConfig;
  readonly connector: ConnectorConfig;
  readonly imagesPerSequence: number;
  /** What a batch holds of images; null: one in every slot. */
  readonly present: PresentImages | null;
}

/** How many images a batch has, and how many the encoder computes: the size that microbatches of such data have. */
export interface PresentImages {
  readonly images: number;
  readonly computed: number;
}

/** A model as it is measured, ours and theirs. */
export interface BenchModel {
  readonly name: string;
  /** Sequences that one process takes in one step. */
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly decoder: DecoderConfig;
  /** `null` for a decoder alone. */
  readonly images: ImageParts | null;
  /** What all candidates compute twice instead of keeping it. */
  readonly recompute: Recompute;
}

/** Measured where nobody names a model. */
export const USUAL_MODELS = ['decoder-5m', 'decoder-34m', 'mm1-tiny'] as const;
/** Multimodal models on batches that do not have an image in every slot. */
export const SPARSE_MODELS = ['mm1-tiny-demo', 'mm1-even-demo', 'mm1-tiny-text'] as const;
export const MODEL_NAMES = [...USUAL_MODELS, ...SPARSE_MODELS] as const;
export type ModelName = (typeof MODEL_NAMES)[number];

/**
 * Of 64 slots, the means over microbatches of 8 sequences of the demo's 4:4:1: 12.3 images, and 14.7 of the sizes
 * 11, 17, 24 and 64 that `imageSizes` gives them.
 */
const DEMO: PresentImages = { images: 12, computed: 15 };
const TEXT: PresentImages = { images: 0, computed: 0 };

const BATCH_SIZE = 8;

export function benchModel(name: ModelName): BenchModel {
  switch (name) {
    case 'decoder-5m':
      return decoderOnly(name, 128, {
        vocabularySize: 4096,
        width: 256,
        depth: 4,
        heads: 4,
        headWidth: 64,
        keyValueHeads: 4,
        feedForwardWidth: 704,
      });
    case 'decoder-34m':
      return decoderOnly(name, 256, {
        vocabularySize: 8192,
        width: 512,
        depth: 8,
        heads: 8,
        headWidth: 64,
        keyValueHeads: 8,
        feedForwardWidth: 1408,
      });
    case 'mm1-tiny':
      return multimodal(name, null);
    case 'mm1-tiny-demo':
      return multimodal(name, DEMO);
    case 'mm1-tiny-text':
      return multimodal(name, TEXT);
    case 'mm1-even-demo': {
      // With an image in every slot the encoder has as many FLOPs as the decoder.
      const model = multimodal(name, DEMO);
      const { images } = model;
      const vision = { ...images.vision, width: 256, depth: 6, feedForwardWidth: 1024 };
      return { ...model, images: { ...images, vision } };
    }
  }
}

/** The parameters in forward order; a decoder alone has names without the prefix `decoder/`. */
export function parametersOf({ images, decoder, sequenceLength }: BenchModel): readonly ParameterSpec[] {
  return images === null ? decoderParameters(decoder) : modelParameters(wholeModel(images, decoder, sequenceLength));
}

export function wholeModel(images: ImageParts, decoder: DecoderConfig, sequenceLength: number): ModelConfig {
  return { sequenceLength, vision: images.vision, connector: images.connector, decoder };
}

function multimodal(name: ModelName, present: PresentImages | null) {
  const { model, data } = recipe('mm1Tiny');
  const { sequenceLength, decoder, vision, connector } = model;
  const images: ImageParts = { vision, connector, imagesPerSequence: data.imagesPerSequence, present };
  return { name, batchSize: BATCH_SIZE, sequenceLength, decoder, images, recompute: 'none' as const };
}

function decoderOnly(
  name: ModelName,
  sequenceLength: number,
  sizes: Omit<DecoderConfig, keyof DecoderVariant | 'ropeTheta' | 'qkNorm' | 'normEpsilon' | 'moe'>,
): BenchModel {
  const decoder = { ...DEFAULT_DECODER, ...sizes, ropeTheta: 10_000, qkNorm: false, normEpsilon: 1e-5, moe: null };
  return { name, batchSize: BATCH_SIZE, sequenceLength, decoder, images: null, recompute: 'none' };
}

/** AdamW, fully decoupled, clipped at 1, at a constant rate, so that losses can be compared step by step. */
export const OPTIMIZER: OptimizerConfig = {
  kind: 'adamw',
  learningRate: 1e-3,
  learningRateFactors: {},
  weightDecay: 1e-4,
  beta1: 0.9,
  beta2: 0.95,
  epsilon: 1e-8,
  adafactor: DEFAULT_ADAFACTOR,
  clipNorm: 1,
  warmupSteps: 0,
  finalLearningRateRatio: 1,
};
