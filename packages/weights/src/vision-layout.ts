import { isJsonObject, type JsonObject, WeftError } from '@weft/common';
import type { VisionConfig } from '@weft/config';
import { Fields } from './config-fields.js';
import type { Entry } from './layout.js';

// Three layouts of one encoder: that of `transformers`' CLIP, that of its SigLIP, and that of open_clip.

/** Where `transformers` keeps a CLIP or SigLIP encoder of this many blocks. */
export function clipEntries(blocks: number, prefix: string): readonly Entry[] {
  const pair = (theirs: string, ours: string, form: Entry['form'] = 'same'): Entry[] => [
    { theirs: `${prefix}${theirs}.weight`, ours: `${ours}/${form === 'same' ? 'gain' : 'kernel'}`, form },
    { theirs: `${prefix}${theirs}.bias`, ours: `${ours}/bias`, form: 'same' },
  ];
  return [
    { theirs: `${prefix}embeddings.class_embedding`, ours: 'classToken', form: 'same' },
    ...pair('embeddings.patch_embedding', 'patch', 'patch'),
    { theirs: `${prefix}embeddings.position_embedding.weight`, ours: 'positions', form: 'same' },
    ...pair('pre_layrnorm', 'inputNorm'),
    ...Array.from({ length: blocks }, (_, block): Entry[] => {
      const theirs = `encoder.layers.${block}`;
      const ours = `layers/${block}`;
      return [
        ...pair(`${theirs}.layer_norm1`, `${ours}/attentionNorm`),
        ...pair(`${theirs}.self_attn.q_proj`, `${ours}/attention/query`, 'transposed'),
        { theirs: `${prefix}${theirs}.self_attn.k_proj.weight`, ours: `${ours}/attention/key`, form: 'transposed' },
        { theirs: `${prefix}${theirs}.self_attn.k_proj.bias`, ours: `${ours}/attention/keyBias`, form: 'same' },
        ...pair(`${theirs}.self_attn.v_proj`, `${ours}/attention/value`, 'transposed'),
        ...pair(`${theirs}.self_attn.out_proj`, `${ours}/attention/output`, 'transposed'),
        ...pair(`${theirs}.layer_norm2`, `${ours}/feedForwardNorm`),
        ...pair(`${theirs}.mlp.fc1`, `${ours}/feedForward/up`, 'transposed'),
        ...pair(`${theirs}.mlp.fc2`, `${ours}/feedForward/down`, 'transposed'),
      ];
    }).flat(),
    ...pair('post_layernorm', 'norm'),
  ];
}

/** Where open_clip keeps its encoder. Query, key and value lie in one tensor, one after the other. */
export function openClipEntries(blocks: number): readonly Entry[] {
  const norm = (theirs: string, ours: string): Entry[] => [
    { theirs: `visual.${theirs}.weight`, ours: `${ours}/gain`, form: 'same' },
    { theirs: `visual.${theirs}.bias`, ours: `${ours}/bias`, form: 'same' },
  ];
  const linear = (theirs: string, ours: string): Entry[] => [
    { theirs: `visual.${theirs}.weight`, ours: `${ours}/kernel`, form: 'transposed' },
    { theirs: `visual.${theirs}.bias`, ours: `${ours}/bias`, form: 'same' },
  ];
  return [
    { theirs: 'visual.class_embedding', ours: 'classToken', form: 'same' },
    { theirs: 'visual.positional_embedding', ours: 'positions', form: 'same' },
    { theirs: 'visual.conv1.weight', ours: 'patch/kernel', form: 'patch' },
    ...norm('ln_pre', 'inputNorm'),
    ...Array.from({ length: blocks }, (_, block): Entry[] => {
      const theirs = `transformer.resblocks.${block}`;
      const ours = `layers/${block}`;
      const weights = ['query/kernel', 'key', 'value/kernel'];
      const biases = ['query/bias', 'keyBias', 'value/bias'];
      return [
        ...norm(`${theirs}.ln_1`, `${ours}/attentionNorm`),
        ...weights.map(
          (name): Entry => ({
            theirs: `visual.${theirs}.attn.in_proj_weight`,
            ours: `${ours}/attention/${name}`,
            form: 'transposed',
          }),
        ),
        ...biases.map(
          (name): Entry => ({
            theirs: `visual.${theirs}.attn.in_proj_bias`,
            ours: `${ours}/attention/${name}`,
            form: 'same',
          }),
        ),
        ...linear(`${theirs}.attn.out_proj`, `${ours}/attention/output`),
        ...norm(`${theirs}.ln_2`, `${ours}/feedForwardNorm`),
        ...linear(`${theirs}.mlp.c_fc`, `${ours}/feedForward/up`),
        ...linear(`${theirs}.mlp.c_proj`, `${ours}/feedForward/down`),
      ];
    }).flat(),
    ...norm('ln_post', 'norm'),
  ];
}

/** Which block's output the connector is to read, where that is not the last one, and whether through the last norm. */
export interface FeatureChoice {
  readonly featureLayer: number | null;
  readonly outputNorm: boolean;
}

/**
 * The published tensor names that an import of the encoder passes over: the text tower, projections into the common space,
 * blocks that nothing reads, the last norm where it is left out.
 */
export function isVisionExtra(name: string, prefix: string, { featureLayer, outputNorm }: FeatureChoice): boolean {
  if (!name.startsWith(prefix)) return true;
  const own = name.slice(prefix.length);
  if (/^(text_|visual_projection|logit_|language_model|lm_head|multi_modal_projector)/.test(own)) return true;
  if (own === 'proj' || own.endsWith('position_ids') || own.startsWith('head.')) return true;
  const block = Number(/^(?:encoder\.layers|transformer\.resblocks)\.(\d+)\./.exec(own)?.[1] ?? -1);
  if (featureLayer !== null && block >= featureLayer) return true;
  return !outputNorm && /^(post_layernorm|ln_post)\./.test(own);
}

/**
 * Reads the vision part of a `config.json` of `transformers`: of a CLIP encoder, of a whole CLIP model, or of LLaVA.
 *
 * @param where names the file in errors
 * @throws WeftError `invalid_argument` naming a field that Weft's encoder cannot follow, `corrupt_data` naming one that
 *         is missing or of another kind
 */
export function readClipConfig(config: JsonObject, where: string, choice: FeatureChoice): VisionConfig {
  const whole = isJsonObject(config.vision_config);
  const fields = (whole ? new Fields(config, where).group('vision_config') : undefined) ?? new Fields(config, where);
  if (!whole || fields.has('model_type')) fields.must('model_type', 'clip_vision_model');
  fields.must('num_channels', 3);
  return checked(where, {
    imageSize: fields.count('image_size', 224),
    patchSize: fields.count('patch_size', 32),
    width: fields.count('hidden_size', 768),
    depth: fields.count('num_hidden_layers', 12),
    heads: fields.count('num_attention_heads', 12),
    feedForwardWidth: fields.count('intermediate_size', 3072),
    activation: fields.oneOf('hidden_act', ['quick_gelu', 'gelu'], 'quick_gelu') === 'gelu' ? 'gelu' : 'quickGelu',
    normEpsilon: fields.number('layer_norm_eps', 1e-5),
    ...CLIP,
    ...choice,
  });
}

/** Reads an `open_clip_config.json`. Errors as `readClipConfig`. */
export function readOpenClipConfig(config: JsonObject, where: string, choice: FeatureChoice): VisionConfig {
  const model = new Fields(config, where).group('model_cfg') ?? new Fields(config, where);
  const vision = model.group('vision_cfg');
  if (vision === undefined) throw new WeftError('corrupt_data', `${where} lacks vision_cfg`);
  for (const field of ['timm_model_name', 'ls_init_value', 'pos_embed_type', 'act_kwargs']) {
    if (vision.has(field) && field !== 'pos_embed_type') vision.must(field, 'none');
    if (field === 'pos_embed_type') vision.must(field, 'learnable');
  }
  vision.must('no_ln_pre', false);
  const width = vision.count('width', 768);
  return checked(where, {
    imageSize: vision.count('image_size', 224),
    patchSize: vision.count('patch_size', 16),
    width,
    depth: vision.count('layers', 12),
    heads: width / vision.count('head_width', 64),
    feedForwardWidth: Math.trunc(width * vision.number('mlp_ratio', 4)),
    activation: model.flag('quick_gelu', false) ? 'quickGelu' : 'gelu',
    normEpsilon: 1e-5,
    ...CLIP,
    ...choice,
  });
}

const CLIP = { classToken: true, inputNorm: true, patchBias: false, keyBias: true } as const;

function checked(where: string, vision: VisionConfig): VisionConfig {
  const { imageSize, patchSize, width, heads, depth, featureLayer } = vision;
  const refuse = (sentence: string) => new WeftError('invalid_argument', `${where}: ${sentence}`);
  if (imageSize % patchSize !== 0) throw refuse(`patches of ${patchSize} pixels do not divide images of ${imageSize}`);
  if (!Number.isInteger(heads) || width % heads !== 0) throw refuse(`${heads} heads do not divide the width ${width}`);
  if (featureLayer !== null && featureLayer > depth)
    throw refuse(`the connector is to read layer ${featureLayer}, but the encoder has ${depth}`);
  return vision;
}

/**
 * The `config.json` of an encoder of ours, and where its tensors lie: as CLIP where it has a class token and a norm before
 * its blocks, as SigLIP where it has neither.
 *
 * @throws WeftError `invalid_argument` for an encoder that is neither
 */
export function writeVisionConfig(vision: VisionConfig): {
  readonly config: JsonObject;
  readonly layout: 'CLIP' | 'SigLIP';
} {
  const { classToken, inputNorm, patchBias, activation } = vision;
  const isClip = classToken && inputNorm && !patchBias;
  if (!isClip && (classToken || inputNorm || !patchBias))
    throw new WeftError(
      'invalid_argument',
      `model.vision has classToken ${classToken}, inputNorm ${inputNorm} and patchBias ${patchBias}, but public encoders have true, true, false (CLIP) or false, false, true (SigLIP)`,
      { hint: 'keep the run as a Weft checkpoint' },
    );
  return {
    layout: isClip ? 'CLIP' : 'SigLIP',
    config: {
      architectures: [isClip ? 'CLIPVisionModel' : 'SiglipVisionModel'],
      model_type: isClip ? 'clip_vision_model' : 'siglip_vision_model',
      image_size: vision.imageSize,
      patch_size: vision.patchSize,
      num_channels: 3,
      hidden_size: vision.width,
      num_hidden_layers: vision.featureLayer ?? vision.depth,
      num_attention_heads: vision.heads,
      intermediate_size: vision.feedForwardWidth,
      hidden_act: activation === 'gelu' ? 'gelu' : 'quick_gelu',
      layer_norm_eps: vision.normEpsilon,
      ...(isClip ? {} : { vision_use_head: false }),
    },
  };
}

/** What a public encoder has and ours may lack, because it changes nothing: biases of keys, a last norm nobody reads. */
export function neutralVisionTensors(
  { width, depth, featureLayer, keyBias, outputNorm }: VisionConfig,
  prefix: string,
): readonly { readonly name: string; readonly length: number; readonly value: number }[] {
  const blocks = keyBias ? 0 : (featureLayer ?? depth);
  const biases = Array.from({ length: blocks }, (_, block) => `encoder.layers.${block}.self_attn.k_proj.bias`);
  return [
    ...biases.map((name) => ({ name: `${prefix}${name}`, length: width, value: 0 })),
    ...(outputNorm
      ? []
      : [
          { name: `${prefix}post_layernorm.weight`, length: width, value: 1 },
          { name: `${prefix}post_layernorm.bias`, length: width, value: 0 },
        ]),
  ];
}
