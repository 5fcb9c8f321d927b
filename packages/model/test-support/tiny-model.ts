import { DEFAULT_DECODER, DEFAULT_VISION, type ModelConfig, type MoeConfig } from '@weft/config';
import { modelParameters } from '../src/model-parameters.js';
import type { Parameters } from '../src/parameters.js';
import { lookup, randomParameters } from './tensors.js';

/** The smallest model with every part in it: 2 × 2 patches, 4 tokens an image, grouped queries, QK-norm. */
export const tinyModel: ModelConfig = {
  sequenceLength: 12,
  vision: { ...DEFAULT_VISION, imageSize: 4, patchSize: 2, width: 6, depth: 1, heads: 2, feedForwardWidth: 8 },
  connector: { kind: 'averagePool', tokensPerImage: 4, hiddenWidth: 5, depth: 1 },
  decoder: {
    ...DEFAULT_DECODER,
    vocabularySize: 7,
    width: 8,
    depth: 2,
    heads: 2,
    headWidth: 4,
    keyValueHeads: 1,
    feedForwardWidth: 10,
    ropeTheta: 100,
    qkNorm: true,
    normEpsilon: 1e-5,
    moe: null,
  },
};

export const tinyModelWithCAbstractor: ModelConfig = {
  ...tinyModel,
  connector: { kind: 'cAbstractor', tokensPerImage: 1, hiddenWidth: 5, depth: 2 },
};

export const tinyModelWithAttentionPool: ModelConfig = {
  ...tinyModel,
  connector: { kind: 'attentionPool', tokensPerImage: 3, hiddenWidth: 5, depth: 1 },
};

/** The same with everything in which published encoders and decoders differ from ours. */
export const tinyModelOfVariants: ModelConfig = {
  ...tinyModel,
  vision: {
    ...tinyModel.vision,
    depth: 3,
    classToken: true,
    inputNorm: true,
    patchBias: false,
    activation: 'gelu',
    featureLayer: 2,
    outputNorm: false,
  },
  decoder: {
    ...tinyModel.decoder,
    headWidth: 6,
    ropeScaling: { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalLength: 12 },
    qkvBias: true,
    tiedEmbeddings: true,
  },
};

const MOE: MoeConfig = {
  experts: 4,
  everyLayers: 2,
  capacityFactor: 1.5,
  groupSize: 0,
  loadBalanceWeight: 0.01,
  routerZWeight: 0.001,
  jitter: 0,
  exchangePrecision: 'fp32',
};

/** The same with experts in its last layer. */
export const tinyMoeModel: ModelConfig = {
  ...tinyModel,
  decoder: {
    ...tinyModel.decoder,
    moe: MOE,
  },
};

export function withMoe(model: ModelConfig, moe: Partial<MoeConfig>): ModelConfig {
  const base = model.decoder.moe ?? MOE;
  return { ...model, decoder: { ...model.decoder, moe: { ...base, ...moe } } };
}

export function tinyParameters(model: ModelConfig): Parameters {
  return lookup(randomParameters(modelParameters(model)));
}
