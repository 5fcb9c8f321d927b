// Legend: S slots, L positions of a chunk, T positions of the cache, N images, K tokens per image, D width,
// V vocabulary.
import type { ModelConfig } from '@weft/config';
import {
  cachedDecoderBlocks,
  cacheSpec,
  decoderInput,
  imageTokens,
  type KeyValueCache,
  modelParameters,
  nextTokenLogits,
  type Parameters,
  scope,
  takeRows,
} from '@weft/model';
import {
  type Phase,
  type PhaseContext,
  type Program,
  sparseSoftmaxCrossEntropy,
  type TensorSpec,
  tf,
} from '@weft/tensor';

/** The sizes that a generation program is compiled for. */
export interface GenerationShape {
  /** Texts that are decoded at the same time, each with its part of the cache. */
  readonly slots: number;
  /** The most positions of a text, prompt and continuation together. */
  readonly cacheLength: number;
  /** The tokens that may come out: ids below this. The model may know more than the tokenizer. */
  readonly vocabularySize: number;
}

/** Chunks that a prompt is read in, longest last; those beyond the length of the cache are left out. */
const CHUNK_LENGTHS = [32, 256, 1024];
/** Images that the encoder takes at a time; the last batch of a prompt is the smallest that holds what is left. */
const IMAGE_BATCHES = [1, 8];

/** The lengths of the chunks of a program. */
export function chunkLengths(cacheLength: number): readonly number[] {
  return [...new Set(CHUNK_LENGTHS.map((length) => Math.min(length, cacheLength)))];
}

/** The smallest batch for a number of images, or the largest one. */
export function imageBatch(images: number): number {
  return IMAGE_BATCHES.find((size) => size >= images) ?? Math.max(...IMAGE_BATCHES);
}

/** The names of the phases. */
export const PHASES = {
  encodeImages: (batch: number) => `encodeImages/${batch}`,
  prefill: (length: number) => `prefill/${length}`,
  score: (length: number) => `score/${length}`,
  truncate: 'truncate',
  decode: 'decode',
  decodeGreedily: 'decodeGreedily',
} as const;

/**
 * The program of a generator. Its state is the parameters of the model and the cache of keys and values, by layer
 * `cache/<layer>/keys` and `cache/<layer>/values`. Its phases:
 * - `encodeImages/N`: the pixels of N images → their tokens;
 * - `prefill/L`: the next positions of the text in one slot, at most L → the logits after the last of them;
 * - `score/L`: the same → for each position, how likely a given token is to follow, and which is the likeliest;
 * - `truncate`: leaves so many positions in every slot, before other ones are read behind them;
 * - `decode`: the next token of the text in every slot → the logits after each;
 * - `decodeGreedily`: the same → the likeliest token after each.
 * Lengths of texts are inputs: an empty slot has length 0, and whatever is decoded there is ignored.
 */
export function generationProgram(model: ModelConfig, shape: GenerationShape): Program {
  const { slots, cacheLength } = shape;
  const layers = Array.from({ length: model.decoder.depth }, (_, layer) => layer);
  const spec = cacheSpec(model.decoder, slots, cacheLength);
  const lengths = chunkLengths(cacheLength);
  return {
    name: 'generation',
    state: {
      ...Object.fromEntries(
        modelParameters(model).map(({ name, shape, axes }) => [name, { shape, dtype: 'float32', axes } as const]),
      ),
      ...Object.fromEntries(layers.flatMap((layer) => cacheNames(layer).map((name) => [name, spec]))),
    },
    phases: Object.fromEntries([
      ...IMAGE_BATCHES.map((batch) => [PHASES.encodeImages(batch), encodePhase(model, batch)] as const),
      ...lengths.map((length) => [PHASES.prefill(length), prefillPhase(model, shape, length)] as const),
      ...lengths.map((length) => [PHASES.score(length), scorePhase(model, shape, length)] as const),
      [PHASES.truncate, truncatePhase(model, shape)],
      [PHASES.decode, decodePhase(model, shape, (logits_SV) => ({ logits: logits_SV }))],
      [PHASES.decodeGreedily, decodePhase(model, shape, (logits_SV) => ({ tokenIds: likeliest(logits_SV) }))],
    ]),
  };
}

/** The variables that hold the keys and the values of a layer. */
export function cacheNames(layer: number): readonly [keys: string, values: string] {
  return [`cache/${layer}/keys`, `cache/${layer}/values`];
}

function encodePhase(model: ModelConfig, batch: number): Phase {
  const { imageSize } = model.vision;
  return {
    inputs: { images: { shape: [batch, imageSize, imageSize, 3], dtype: 'float32' } },
    run: ({ input, read }) => ({ imageTokens: imageTokens(model, read, input('images')) }),
  };
}

/** The inputs of a chunk of L positions. */
function chunkInputs({ decoder }: ModelConfig, length: number): Readonly<Record<string, TensorSpec>> {
  return {
    slot: { shape: [1], dtype: 'int32' },
    /** Positions of the text that the cache holds. */
    start: { shape: [1], dtype: 'float32' },
    /** 1 for each position of the chunk, 0 for the padding behind them. */
    isToken: { shape: [1, length], dtype: 'float32' },
    tokenIds: { shape: [1, length], dtype: 'int32' },
    /** The image token of every position that has one; anything at the others. */
    imageTokens: { shape: [length, decoder.width], dtype: 'float32' },
    /** 0 for text; i > 0 for row i − 1 of `imageTokens`. */
    imageTokenIndex: { shape: [1, length], dtype: 'int32' },
  };
}

function prefillPhase(model: ModelConfig, { vocabularySize }: GenerationShape, length: number): Phase {
  return {
    inputs: { ...chunkInputs(model, length), last: { shape: [1], dtype: 'int32' } },
    run: (context) => {
      const y_LD = readChunk(model, context);
      const last_1D = takeRows(y_LD, context.input('last'));
      return { logits: logitsOf(model, context.read, last_1D, vocabularySize) };
    },
  };
}

function scorePhase(model: ModelConfig, { vocabularySize }: GenerationShape, length: number): Phase {
  return {
    inputs: { ...chunkInputs(model, length), targetIds: { shape: [length], dtype: 'int32' } },
    run: (context) => {
      const logits_LV = nextTokenLogits(readChunk(model, context), scope(context.read, 'decoder'), model.decoder);
      return {
        // Over all that the model knows, as in training.
        logLikelihoods: tf.neg(sparseSoftmaxCrossEntropy(logits_LV, context.input('targetIds'))),
        tokenIds: likeliest(tf.slice(logits_LV, [0, 0], [length, vocabularySize])),
      };
    },
  };
}

/** One slot's part of the cache takes the positions of a chunk. Returns the residual stream, [L, D]. */
function readChunk(model: ModelConfig, context: PhaseContext): tf.Tensor {
  const { input, read } = context;
  const x_LD = decoderInput(
    input('imageTokens'),
    read('decoder/embedding'),
    input('tokenIds'),
    input('imageTokenIndex'),
  );
  const positions = { starts_B: input('start'), isToken_BL: input('isToken'), slots_B: input('slot') as tf.Tensor1D };
  return cachedDecoderBlocks(x_LD, read, model, positions, cacheOf(context));
}

function truncatePhase({ decoder }: ModelConfig, { slots, cacheLength }: GenerationShape): Phase {
  return {
    inputs: { lengths: { shape: [slots], dtype: 'float32' } },
    run: (context) => {
      const cache = cacheOf(context);
      const lengths_S1 = tf.reshape(context.input('lengths'), [slots, 1]);
      const isKept_ST = tf.cast(tf.less(tf.range(0, cacheLength, 1, 'float32'), lengths_S1), 'float32');
      const isKept_S1T1 = tf.reshape(isKept_ST, [slots, 1, cacheLength, 1]);
      for (let layer = 0; layer < decoder.depth; layer++) {
        const { keys_NJTC, values_NJTC } = cache.read(layer);
        cache.write(layer, {
          keys_NJTC: tf.mul(keys_NJTC, isKept_S1T1),
          values_NJTC: tf.mul(values_NJTC, isKept_S1T1),
        });
      }
      return {};
    },
  };
}

function decodePhase(
  model: ModelConfig,
  { slots, vocabularySize }: GenerationShape,
  outputs: (logits_SV: tf.Tensor) => Readonly<Record<string, tf.Tensor>>,
): Phase {
  return {
    inputs: {
      tokenIds: { shape: [slots], dtype: 'int32' },
      lengths: { shape: [slots], dtype: 'float32' },
      isToken: { shape: [slots, 1], dtype: 'float32' },
    },
    run: (context) => {
      const { input, read } = context;
      const x_SD = takeRows(read('decoder/embedding'), input('tokenIds'));
      const positions = { starts_B: input('lengths'), isToken_BL: input('isToken') };
      const y_SD = cachedDecoderBlocks(x_SD, read, model, positions, cacheOf(context));
      return outputs(logitsOf(model, read, y_SD, vocabularySize));
    },
  };
}

function logitsOf(model: ModelConfig, read: Parameters, y_RD: tf.Tensor, vocabularySize: number): tf.Tensor {
  const logits_RV = nextTokenLogits(y_RD, scope(read, 'decoder'), model.decoder);
  return tf.slice(logits_RV, [0, 0], [logits_RV.shape[0], vocabularySize]);
}

function likeliest(logits_RV: tf.Tensor): tf.Tensor {
  return tf.reshape(tf.topk(logits_RV, 1).indices, [-1]);
}

function cacheOf({ read, assign }: PhaseContext): KeyValueCache {
  return {
    read: (layer) => {
      const [keys, values] = cacheNames(layer);
      return { keys_NJTC: read(keys), values_NJTC: read(values) };
    },
    write: (layer, { keys_NJTC, values_NJTC }) => {
      const [keys, values] = cacheNames(layer);
      assign(keys, keys_NJTC);
      assign(values, values_NJTC);
    },
  };
}
