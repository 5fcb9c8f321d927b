import { type JsonObject, WeftError } from '@weft/common';
import { DEFAULT_DECODER, type DecoderConfig, type RopeScaling } from '@weft/config';
import { Fields } from './config-fields.js';
import type { Entry } from './layout.js';

/** The families of decoders that are computed as Weft computes them, by `model_type`. */
const FAMILIES = ['llama', 'mistral', 'qwen2', 'qwen3'] as const;

/** Whether a `config.json` is of a decoder that can be imported. */
export function isDecoderConfig({ model_type: type }: JsonObject): boolean {
  return FAMILIES.some((family) => family === type);
}

/** Where Llama and those after it keep the parameters of a decoder with this many layers. */
export function decoderEntries(depth: number, prefix = ''): readonly Entry[] {
  const layers = Array.from({ length: depth }, (_, layer): Entry[] => {
    const theirs = `${prefix}model.layers.${layer}`;
    const ours = `layers/${layer}`;
    const projections = Object.entries({ q: 'query', k: 'key', v: 'value' });
    return [
      { theirs: `${theirs}.input_layernorm.weight`, ours: `${ours}/attentionNorm`, form: 'same' },
      ...projections.flatMap(([letter, name]): Entry[] => [
        { theirs: `${theirs}.self_attn.${letter}_proj.weight`, ours: `${ours}/attention/${name}`, form: 'transposed' },
        { theirs: `${theirs}.self_attn.${letter}_proj.bias`, ours: `${ours}/attention/${name}Bias`, form: 'same' },
        { theirs: `${theirs}.self_attn.${letter}_norm.weight`, ours: `${ours}/attention/${name}Norm`, form: 'same' },
      ]),
      { theirs: `${theirs}.self_attn.o_proj.weight`, ours: `${ours}/attention/output`, form: 'transposed' },
      { theirs: `${theirs}.post_attention_layernorm.weight`, ours: `${ours}/feedForwardNorm`, form: 'same' },
      ...['gate', 'up', 'down'].map(
        (name): Entry => ({
          theirs: `${theirs}.mlp.${name}_proj.weight`,
          ours: `${ours}/feedForward/${name}`,
          form: 'transposed',
        }),
      ),
    ];
  });
  return [
    { theirs: `${prefix}model.embed_tokens.weight`, ours: 'embedding', form: 'same' },
    ...layers.flat(),
    { theirs: `${prefix}model.norm.weight`, ours: 'norm', form: 'same' },
    { theirs: `${prefix}lm_head.weight`, ours: 'head', form: 'transposed' },
  ];
}

/**
 * Published tensors that are no parameters of their own: angles that older versions kept, and the head of a model whose
 * embeddings are tied.
 */
export function isDecoderExtra(name: string, { tiedEmbeddings }: DecoderConfig): boolean {
  return name.endsWith('rotary_emb.inv_freq') || (tiedEmbeddings && name.endsWith('lm_head.weight'));
}

/**
 * Reads the `config.json` of a decoder.
 *
 * @param where names the file in errors
 * @throws WeftError `invalid_argument` naming a field that Weft's decoder cannot follow, `corrupt_data` naming one that
 *         is missing or of another kind
 */
export function readDecoderConfig(config: JsonObject, where: string): DecoderConfig {
  const fields = new Fields(config, where);
  const family = fields.oneOf('model_type', FAMILIES);
  const width = fields.count('hidden_size');
  const heads = fields.count('num_attention_heads');
  fields.must('hidden_act', 'silu');
  for (const bias of ['attention_bias', 'mlp_bias']) fields.must(bias, false);
  if (family !== 'mistral' && config.use_sliding_window === true) fields.must('use_sliding_window', false);
  return {
    vocabularySize: fields.count('vocab_size'),
    width,
    depth: fields.count('num_hidden_layers'),
    heads,
    keyValueHeads: fields.count('num_key_value_heads', heads),
    headWidth: fields.count('head_dim', family === 'qwen3' ? 128 : width / heads),
    feedForwardWidth: fields.count('intermediate_size'),
    normEpsilon: fields.number('rms_norm_eps', 1e-6),
    qkNorm: family === 'qwen3',
    qkvBias: family === 'qwen2',
    tiedEmbeddings: fields.flag('tie_word_embeddings', false),
    moe: null,
    ...readRope(fields),
  };
}

/** Newer files keep angles in `rope_parameters`, older ones in `rope_theta` and `rope_scaling`. */
function readRope(fields: Fields): Pick<DecoderConfig, 'ropeTheta' | 'ropeScaling'> {
  const newer = fields.group('rope_parameters');
  const scaling = newer ?? fields.group('rope_scaling');
  const ropeTheta = (newer ?? fields).number('rope_theta', 10_000);
  if (scaling === undefined) return { ropeTheta, ropeScaling: DEFAULT_DECODER.ropeScaling };
  const kinds = ['default', 'llama3'] as const;
  const kind = scaling.oneOf(scaling.has('type') ? 'type' : 'rope_type', kinds, 'default');
  return { ropeTheta, ropeScaling: kind === 'default' ? null : readScaling(scaling) };
}

function readScaling(scaling: Fields): RopeScaling {
  return {
    factor: scaling.number('factor'),
    lowFrequencyFactor: scaling.number('low_freq_factor'),
    highFrequencyFactor: scaling.number('high_freq_factor'),
    originalLength: scaling.count('original_max_position_embeddings'),
  };
}

/** The positions that a position reads in the original, where that is a limited number; undefined: all before it. */
export function slidingWindow(config: JsonObject): number | undefined {
  const { model_type: type, sliding_window: window } = config;
  return type === 'mistral' && typeof window === 'number' ? window : undefined;
}

/**
 * The `config.json` of a decoder of ours: of the simplest family that has its variants, `llama` where it can be.
 *
 * @param sequenceLength of the training: how many positions the model may be asked for
 * @throws WeftError `invalid_argument` for a combination that no family has
 */
export function writeDecoderConfig(decoder: DecoderConfig, sequenceLength: number): JsonObject {
  const { qkNorm, qkvBias, ropeTheta, ropeScaling: scaling } = decoder;
  if (decoder.moe !== null) throw unpublished('model.decoder.moe is set', 'experts');
  if (qkNorm && qkvBias) throw unpublished('model.decoder has qkNorm and qkvBias', 'both');
  const family = qkNorm ? 'qwen3' : qkvBias ? 'qwen2' : 'llama';
  const architecture = { qwen3: 'Qwen3ForCausalLM', qwen2: 'Qwen2ForCausalLM', llama: 'LlamaForCausalLM' }[family];
  const scaled = scaling === null ? { rope_type: 'default' } : { rope_type: 'llama3', ...writeScaling(scaling) };
  return {
    architectures: [architecture],
    model_type: family,
    vocab_size: decoder.vocabularySize,
    hidden_size: decoder.width,
    num_hidden_layers: decoder.depth,
    num_attention_heads: decoder.heads,
    num_key_value_heads: decoder.keyValueHeads,
    head_dim: decoder.headWidth,
    intermediate_size: decoder.feedForwardWidth,
    hidden_act: 'silu',
    rms_norm_eps: decoder.normEpsilon,
    max_position_embeddings: sequenceLength,
    // Both ways of writing angles, for newer and older readers.
    rope_parameters: { rope_theta: ropeTheta, ...scaled },
    rope_theta: ropeTheta,
    rope_scaling: scaling === null ? null : scaled,
    tie_word_embeddings: decoder.tiedEmbeddings,
    ...(family === 'llama' ? { attention_bias: false, mlp_bias: false } : { use_sliding_window: false }),
    ...(family === 'qwen3' ? { attention_bias: false } : {}),
  };
}

function writeScaling({ factor, lowFrequencyFactor, highFrequencyFactor, originalLength }: RopeScaling): JsonObject {
  return {
    factor,
    low_freq_factor: lowFrequencyFactor,
    high_freq_factor: highFrequencyFactor,
    original_max_position_embeddings: originalLength,
  };
}

function unpublished(what: string, variant: string): WeftError {
  return new WeftError(
    'invalid_argument',
    `${what}, but no public family of decoders that Weft exports to has ${variant}`,
    {
      hint: 'keep the run as a Weft checkpoint',
    },
  );
}
