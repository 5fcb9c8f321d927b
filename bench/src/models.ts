import type { ConnectorConfig, DecoderConfig, ModelConfig, OptimizerConfig, VisionConfig } from '@weft/config';
import { decoderParameters, modelParameters, type ParameterSpec } from '@weft/model';
import { recipe } from '@weft/recipes';

/** What a multimodal model has beside its decoder. */
export interface ImageParts {
  readonly vision: VisionConfig;
  readonly connector: ConnectorConfig;
  readonly imagesPerSequence: number;
}

/** A model as it is measured, ours and theirs. */
export interface BenchModel {
  readonly name: ModelName;
  /** Sequences that one process takes in one step. */
  readonly batchSize: number;
  readonly sequenceLength: number;
  readonly decoder: DecoderConfig;
  /** `null` for a decoder alone. */
  readonly images: ImageParts | null;
}

export const MODEL_NAMES = ['decoder-5m', 'decoder-34m', 'mm1-tiny'] as const;
export type ModelName = (typeof MODEL_NAMES)[number];

const BATCH_SIZE = 8;

export function benchModel(name: ModelName): BenchModel {
  switch (name) {
    case 'decoder-5m':
      return decoderOnly(name, 128, {
        vocabularySize: 4096,
        width: 256,
        depth: 4,
        heads: 4,
        keyValueHeads: 4,
        feedForwardWidth: 704,
      });
    case 'decoder-34m':
      return decoderOnly(name, 256, {
        vocabularySize: 8192,
        width: 512,
        depth: 8,
        heads: 8,
        keyValueHeads: 8,
        feedForwardWidth: 1408,
      });
    case 'mm1-tiny': {
      const { model, data } = recipe('mm1Tiny');
      const { sequenceLength, decoder, vision, connector } = model;
      const images = { vision, connector, imagesPerSequence: data.imagesPerSequence };
      return { name, batchSize: BATCH_SIZE, sequenceLength, decoder, images };
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

function decoderOnly(
  name: ModelName,
  sequenceLength: number,
  sizes: Omit<DecoderConfig, 'ropeTheta' | 'qkNorm' | 'normEpsilon' | 'moe'>,
): BenchModel {
  const decoder = { ...sizes, ropeTheta: 10_000, qkNorm: false, normEpsilon: 1e-5, moe: null };
  return { name, batchSize: BATCH_SIZE, sequenceLength, decoder, images: null };
}

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
