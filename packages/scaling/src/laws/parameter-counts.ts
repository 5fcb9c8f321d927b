import { assertNever } from '@weft/common';
import type { DecoderConfig, ModelConfig } from '@weft/config';

/** Experts that compute each token. */
const TOP_K = 2;

/** Numbers of trainable scalars. */
export interface AnalyticParameterCounts {
  readonly total: number;
  /** The parameters one token uses: like `total`, with two experts of every sparse layer. Equal to `total` without experts. */
  readonly active: number;
  readonly vision: number;
  readonly connector: number;
  /** The decoder with token embedding and output head. */
  readonly decoder: number;
  /** Token embedding and output head. */
  readonly decoderEmbedding: number;
  /** The decoder without token embedding and output head. */
  readonly nonEmbedding: number;
  /** Like `nonEmbedding`, with two experts of every sparse layer. */
  readonly activeNonEmbedding: number;
  /**
   * N of the learning-rate law: `nonEmbedding` of the dense backbone, which has one feed-forward layer where a sparse
   * layer has a router and experts. MM1 trained its sparse models with the hyper-parameters of their backbones.
   */
  readonly backbone: number;
}

/**
 * Counts the parameters of a model from its configuration. The formulas are independent of `modelParameters` of
 * `@weft/model`; a test compares the two.
 */
export function parameterCounts(model: ModelConfig): AnalyticParameterCounts {
  const vision = visionParameters(model);
  const connector = connectorParameters(model);
  const { vocabularySize, width, tiedEmbeddings } = model.decoder;
  const decoderEmbedding = (tiedEmbeddings ? 1 : 2) * vocabularySize * width;
  const backbone = backboneParameters(model);
  const { extra, idle } = expertParameters(model);
  const nonEmbedding = backbone + extra;
  const decoder = decoderEmbedding + nonEmbedding;
  const total = vision + connector + decoder;
  return {
    total,
    active: total - idle,
    vision,
    connector,
    decoder,
    decoderEmbedding,
    nonEmbedding,
    activeNonEmbedding: nonEmbedding - idle,
    backbone,
  };
}

/** All decoder blocks as if they were dense, and the final norm: grouped-query attention, SwiGLU, RMSNorms, QK-norm. */
function backboneParameters({ decoder }: ModelConfig): number {
  const { width, depth, heads, keyValueHeads, headWidth, qkNorm, qkvBias } = decoder;
  const biases = qkvBias ? (heads + 2 * keyValueHeads) * headWidth : 0;
  const attention = 2 * width * (heads + keyValueHeads) * headWidth + biases + (qkNorm ? 2 * headWidth : 0);
  return depth * (attention + feedForwardParameters(decoder) + 2 * width) + width;
}

/** `extra`: the router and further experts of sparse layers, beyond one feed-forward layer. `idle`: those a token skips. */
function expertParameters({ decoder }: ModelConfig): { readonly extra: number; readonly idle: number } {
  const { moe, depth, width } = decoder;
  if (moe === null) return { extra: 0, idle: 0 };
  const sparseLayers = Math.floor(depth / moe.everyLayers);
  const expert = feedForwardParameters(decoder);
  return {
    extra: sparseLayers * (width * moe.experts + (moe.experts - 1) * expert),
    idle: sparseLayers * (moe.experts - TOP_K) * expert,
  };
}

/** SwiGLU: gate, up and down. */
const feedForwardParameters = ({ width, feedForwardWidth }: DecoderConfig) => 3 * width * feedForwardWidth;

/** Patch embedding, class token, learned positions, blocks, and LayerNorms before and after them. */
function visionParameters({ vision }: ModelConfig): number {
  const { imageSize, patchSize, width, feedForwardWidth, classToken, inputNorm, patchBias, keyBias } = vision;
  const layers = vision.featureLayer ?? vision.depth;
  const attention = 3 * linear(width, width) + width ** 2 + (keyBias ? width : 0);
  const block = attention + linear(width, feedForwardWidth) + linear(feedForwardWidth, width) + 2 * layerNorm(width);
  const patch = 3 * patchSize ** 2 * width + (patchBias ? width : 0);
  const positions = (imageSize / patchSize) ** 2 * width + (classToken ? 2 * width : 0);
  const norms = [inputNorm, vision.outputNorm].filter((isThere) => isThere).length * layerNorm(width);
  return patch + positions + layers * block + norms;
}

function connectorParameters({ vision, connector, decoder }: ModelConfig): number {
  const { hiddenWidth, depth, kind } = connector;
  switch (kind) {
    case 'averagePool':
      return linear(vision.width, decoder.width);
    case 'attentionPool': {
      const queries = connector.tokensPerImage * vision.width;
      const attention = layerNorm(vision.width) + vision.width ** 2 + linear(vision.width, vision.width);
      return queries + attention + linear(vision.width, decoder.width);
    }
    case 'cAbstractor': {
      const positions = (vision.imageSize / vision.patchSize) ** 2 * vision.width;
      const regStages = regStage(vision.width, hiddenWidth, depth) + regStage(hiddenWidth, hiddenWidth, depth);
      return positions + regStages + linear(hiddenWidth, decoder.width) + linear(decoder.width, decoder.width);
    }
    default:
      return assertNever(kind);
  }
}

/** RegNet blocks: 1×1, 3×3 depthwise, squeeze-and-excitation to a quarter of the input channels, 1×1; all normed. */
function regStage(input: number, output: number, depth: number): number {
  const pointwise = (from: number) => from * output + layerNorm(output);
  const block = (from: number) => {
    const squeezed = Math.max(1, Math.round(from / 4));
    const gate = linear(output, squeezed) + linear(squeezed, output);
    const shortcut = from === output ? 0 : pointwise(from);
    return pointwise(from) + 9 * output + layerNorm(output) + gate + pointwise(output) + shortcut;
  };
  return block(input) + (depth - 1) * block(output);
}

const linear = (from: number, to: number) => from * to + to;
const layerNorm = (width: number) => 2 * width;
