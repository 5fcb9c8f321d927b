import type { ModelConfig } from '@weft/config';
import { modelParameters } from './model-parameters.js';
import { EXPERTS_PER_TOKEN } from './moe/moe-shape.js';
import { isExpertTensor } from './moe/stored-tensors.js';
import type { ParameterSpec } from './parameters.js';

/** Numbers of trainable scalars. */
export interface ParameterCounts {
  /** Everything: `vision + connector + decoder`, and also `embedding + nonEmbedding`. */
  readonly total: number;
  /** Lookup tables and their inverse: the decoder's token embedding and output head, and all learned position tables. */
  readonly embedding: number;
  /** Everything else: matrices, convolution kernels, norms and biases of all three parts. */
  readonly nonEmbedding: number;
  /** The vision encoder, its positions included. */
  readonly vision: number;
  /** The connector, its positions included. */
  readonly connector: number;
  /** The decoder, token embedding and output head included. */
  readonly decoder: number;
  /** The decoder without token embedding and output head; of a dense model, N of the learning-rate law η(N). */
  readonly decoderNonEmbedding: number;
  /** All experts of all MoE layers, without their routers; 0 for a dense model. */
  readonly experts: number;
  /** What one token meets: `total`, but of every MoE layer only two experts. */
  readonly active: number;
}

/** Counts the parameters of a model from their shapes alone; nothing is allocated. */
export function countParameters(model: ModelConfig): ParameterCounts {
  const specs = modelParameters(model);
  const count = (wanted: (spec: ParameterSpec) => boolean) =>
    specs.filter(wanted).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const isIn = (part: string) => (spec: ParameterSpec) => spec.name.startsWith(`${part}/`);
  const total = count(() => true);
  const embedding = count(isEmbedding);
  const decoder = count(isIn('decoder'));
  const experts = count(({ name }) => isExpertTensor(name));
  const idleShare = 1 - EXPERTS_PER_TOKEN / (model.decoder.moe?.experts ?? EXPERTS_PER_TOKEN);
  return {
    total,
    embedding,
    nonEmbedding: total - embedding,
    vision: count(isIn('vision')),
    connector: count(isIn('connector')),
    decoder,
    decoderNonEmbedding: decoder - count((spec) => isIn('decoder')(spec) && isEmbedding(spec)),
    experts,
    active: total - Math.round(experts * idleShare),
  };
}

const EMBEDDINGS: ReadonlySet<string> = new Set([
  'vision/positions',
  'connector/positions',
  'decoder/embedding',
  'decoder/head',
]);

function isEmbedding({ name }: ParameterSpec): boolean {
  return EMBEDDINGS.has(name);
}
