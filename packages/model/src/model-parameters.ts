import { Random } from '@weft/common';
import type { ModelConfig } from '@weft/config';
import { elementCount } from '@weft/tensor';
import { connectorParameters } from './connector.js';
import { decoderParameters } from './decoder.js';
import { isExpertStack, storedTensors } from './moe/expert-checkpoint-names.js';
import { EXPERTS_PER_TOKEN } from './moe/moe-shape.js';
import { type ParameterSpec, prefix } from './parameters.js';
import { visionEncoderParameters } from './vision-encoder.js';

/** Every parameter of the model in the order the forward pass meets them: vision encoder, connector, decoder. */
export function modelParameters(model: ModelConfig): readonly ParameterSpec[] {
  return [
    ...prefix('vision', visionEncoderParameters(model.vision)),
    ...prefix('connector', connectorParameters(model)),
    ...prefix('decoder', decoderParameters(model.decoder)),
  ];
}

/**
 * The first value of a parameter, row-major. It depends on the seed and the parameter's name alone: not on the order
 * of the parameters, the rank, or the number of workers. Every expert of a stack starts from its own name in
 * checkpoints, so it does not matter which worker holds it either.
 */
export function initialValue(spec: ParameterSpec, seed: number): Float32Array {
  const values = new Float32Array(elementCount(spec.shape));
  if (spec.init.kind === 'constant') return values.fill(spec.init.value);
  for (const { name, shape, offset } of storedTensors(spec.name, spec.shape, spec.firstExpert)) {
    const random = Random.of(seed, 'init', name);
    const end = offset + elementCount(shape);
    for (let i = offset; i < end; i++) values[i] = spec.init.stddev * random.normal();
  }
  return values;
}

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
  /** What one token uses: `total`, but of every MoE layer only two experts. */
  readonly active: number;
}

/**
 * Counts the parameters of a model from their shapes alone; nothing is allocated.
 * @param specs what is trained, where that is not the whole model or more than it
 */
export function countParameters(
  model: ModelConfig,
  specs: readonly Pick<ParameterSpec, 'name' | 'shape'>[] = modelParameters(model),
): ParameterCounts {
  const count = (isCounted: (spec: Pick<ParameterSpec, 'name'>) => boolean) =>
    specs.filter(isCounted).reduce((sum, { shape }) => sum + elementCount(shape), 0);
  const isIn = (part: string) => (spec: Pick<ParameterSpec, 'name'>) => spec.name.startsWith(`${part}/`);
  const total = count(() => true);
  const embedding = count(isEmbedding);
  const decoder = count(isIn('decoder'));
  const experts = count(({ name }) => isExpertStack(name));
  const unusedShare = 1 - EXPERTS_PER_TOKEN / (model.decoder.moe?.experts ?? EXPERTS_PER_TOKEN);
  return {
    total,
    embedding,
    nonEmbedding: total - embedding,
    vision: count(isIn('vision')),
    connector: count(isIn('connector')),
    decoder,
    decoderNonEmbedding: decoder - count((spec) => isIn('decoder')(spec) && isEmbedding(spec)),
    experts,
    active: total - Math.round(experts * unusedShare),
  };
}

const EMBEDDINGS: ReadonlySet<string> = new Set([
  'vision/positions',
  'connector/positions',
  'decoder/embedding',
  'decoder/head',
  'text/embedding',
  'text/positions',
]);

function isEmbedding({ name }: Pick<ParameterSpec, 'name'>): boolean {
  return EMBEDDINGS.has(name);
}
