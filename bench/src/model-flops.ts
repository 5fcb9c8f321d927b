// Legend: B sequences, T positions, D width, C channels, N images, P patches and K tokens of one image.
import { type BenchModel, type ImageParts, parametersOf } from './models.js';

/** A backward pass costs two products for each one of the forward pass. */
const FORWARD_AND_BACKWARD = 3;

/**
 * Floating point operations of one training step of one process, by the convention of PaLM (Chowdhery et al., 2022,
 * appendix B): matrix products and attention without a discount for the causal mask; no recomputation, no norms,
 * no optimizer, no lookups. Backward counts twice the forward pass.
 */
export function modelFlops(model: BenchModel): number {
  const products = parametersOf(model).reduce(
    (sum, { name, shape }) => sum + 2 * elements(shape) * rowsThrough(name, shape, model),
    0,
  );
  return FORWARD_AND_BACKWARD * (products + attentionFlops(model));
}

/** How many rows of activations a parameter is multiplied with. Vectors and tables are multiplied with none. */
function rowsThrough(name: string, shape: readonly number[], model: BenchModel): number {
  if (shape.length === 1 || /(^|\/)(embedding|positions|queries)$/.test(name)) return 0;
  const { images, batchSize, sequenceLength } = model;
  if (images === null || name.startsWith('decoder/')) return batchSize * sequenceLength;
  const imageCount = imageCountOf(images, batchSize);
  if (name.includes('/gate/')) return imageCount;
  const isBeforePooling = /^(vision|connector\/(before|key|value))\//.test(name);
  return imageCount * (isBeforePooling ? patches(images.vision) : images.connector.tokensPerImage);
}

/** Scores and weighted values: 4·length²·width for every sequence and layer. */
function attentionFlops({ batchSize, sequenceLength, decoder, images }: BenchModel): number {
  const text = 4 * batchSize * sequenceLength ** 2 * decoder.width * decoder.depth;
  if (images === null) return text;
  const { vision } = images;
  return text + 4 * imageCountOf(images, batchSize) * patches(vision) ** 2 * vision.width * vision.depth;
}

/** Images that a batch has: computing more of them is no model's work. */
function imageCountOf({ imagesPerSequence, present }: ImageParts, batchSize: number): number {
  return present?.images ?? batchSize * imagesPerSequence;
}

function patches({ imageSize, patchSize }: { readonly imageSize: number; readonly patchSize: number }): number {
  return (imageSize / patchSize) ** 2;
}

function elements(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}
