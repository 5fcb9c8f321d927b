import { readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readManifest, readTensors, type StreamedTensor, WeightsFile, writeWeightsFile } from '@weft/checkpoint';
import { Random } from '@weft/common';
import { makeDirectory, writeJsonFile } from '@weft/files';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { exportWeights } from './export-weights.js';
import { importWeights } from './import-weights.js';

let directory: TemporaryDirectory;
const at = (...names: string[]) => join(directory.path, ...names);
beforeEach(async () => {
  directory = await temporaryDirectory();
});
afterEach(() => directory.remove());

type Shapes = Readonly<Record<string, readonly number[]>>;

const [VOCABULARY, WIDTH, FEATURES, HEAD] = [11, 6, 10, 4];

/** A Qwen2-like decoder of one layer with tied embeddings: its query heads are wider together than the model. */
const DECODER: Shapes = {
  'model.embed_tokens.weight': [VOCABULARY, WIDTH],
  'model.layers.0.input_layernorm.weight': [WIDTH],
  'model.layers.0.self_attn.q_proj.weight': [2 * HEAD, WIDTH],
  'model.layers.0.self_attn.q_proj.bias': [2 * HEAD],
  'model.layers.0.self_attn.k_proj.weight': [HEAD, WIDTH],
  'model.layers.0.self_attn.k_proj.bias': [HEAD],
  'model.layers.0.self_attn.v_proj.weight': [HEAD, WIDTH],
  'model.layers.0.self_attn.v_proj.bias': [HEAD],
  'model.layers.0.self_attn.o_proj.weight': [WIDTH, 2 * HEAD],
  'model.layers.0.post_attention_layernorm.weight': [WIDTH],
  'model.layers.0.mlp.gate_proj.weight': [FEATURES, WIDTH],
  'model.layers.0.mlp.up_proj.weight': [FEATURES, WIDTH],
  'model.layers.0.mlp.down_proj.weight': [WIDTH, FEATURES],
  'model.norm.weight': [WIDTH],
};
const DECODER_CONFIG = {
  model_type: 'qwen2',
  vocab_size: VOCABULARY,
  hidden_size: WIDTH,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  head_dim: HEAD,
  intermediate_size: FEATURES,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  tie_word_embeddings: true,
};

const pair = (name: string, ...shape: number[]): Shapes => ({
  [`${name}.weight`]: shape,
  [`${name}.bias`]: shape.slice(0, 1),
});

/** A CLIP encoder of two blocks and 2 × 2 patches of 3 pixels. */
const ENCODER: Shapes = {
  'vision_model.embeddings.class_embedding': [WIDTH],
  'vision_model.embeddings.patch_embedding.weight': [WIDTH, 3, 3, 3],
  'vision_model.embeddings.position_embedding.weight': [5, WIDTH],
  ...pair('vision_model.pre_layrnorm', WIDTH),
  ...Object.assign(
    {},
    ...[0, 1].map((block) => {
      const path = `vision_model.encoder.layers.${block}`;
      return {
        ...pair(`${path}.layer_norm1`, WIDTH),
        ...Object.assign(
          {},
          ...['q', 'k', 'v', 'out'].map((name) => pair(`${path}.self_attn.${name}_proj`, WIDTH, WIDTH)),
        ),
        ...pair(`${path}.layer_norm2`, WIDTH),
        ...pair(`${path}.mlp.fc1`, FEATURES, WIDTH),
        ...pair(`${path}.mlp.fc2`, WIDTH, FEATURES),
      };
    }),
  ),
  ...pair('vision_model.post_layernorm', WIDTH),
};
const ENCODER_CONFIG = {
  model_type: 'clip_vision_model',
  image_size: 6,
  patch_size: 3,
  hidden_size: WIDTH,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  intermediate_size: FEATURES,
  hidden_act: 'quick_gelu',
};

const elements = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

function randomValues(name: string, shape: readonly number[]): Float32Array {
  const random = Random.of('weights', name);
  return Float32Array.from({ length: elements(shape) }, () => random.normal());
}

async function writeFolder(name: string, shapes: Shapes, files: Readonly<Record<string, unknown>>): Promise<string> {
  const folder = at(name);
  await makeDirectory(folder);
  const tensors = Object.entries(shapes).map(
    ([tensor, shape]): StreamedTensor => ({ name: tensor, shape, values: () => [randomValues(tensor, shape)] }),
  );
  await writeWeightsFile(join(folder, 'model.safetensors'), tensors);
  for (const [file, content] of Object.entries(files)) await writeJsonFile(join(folder, file), content);
  return folder;
}

const decoderFolder = (shapes = DECODER, config: object = DECODER_CONFIG) =>
  writeFolder('decoder', shapes, { 'config.json': config });
const encoderFolder = (shapes = ENCODER, config: object = ENCODER_CONFIG) =>
  writeFolder('encoder', shapes, { 'config.json': config });

async function publishedTensors(folder: string): Promise<Map<string, Float32Array>> {
  const tensors = new Map<string, Float32Array>();
  for (const name of (await readdir(folder)).filter((each) => each.endsWith('.safetensors'))) {
    const file = await WeightsFile.open(join(folder, name));
    for (const entry of file.tensors)
      for await (const piece of file.read(entry, 0, elements(entry.shape))) tensors.set(entry.name, piece);
    await file.close();
  }
  return tensors;
}

async function importedTensors(checkpoint: string): Promise<Map<string, Float32Array>> {
  const tensors = new Map<string, Float32Array>();
  for await (const { name, data } of readTensors(checkpoint, await readManifest(checkpoint))) tensors.set(name, data);
  return tensors;
}

const sorted = (tensors: ReadonlyMap<string, Float32Array>) => [...tensors].toSorted(([a], [b]) => (a < b ? -1 : 1));

describe('an import', () => {
  it('of a decoder gives the settings of a run that fits', async () => {
    const { settings, parts, parameters, yaml } = await importWeights({ from: await decoderFolder(), to: at('ours') });
    expect(parts).toEqual(['decoder']);
    expect(parameters).toBe(Object.values(DECODER).reduce((sum, shape) => sum + elements(shape), 0));
    expect(settings).toMatchObject({
      initFrom: { decoder: at('ours', 'checkpoints', 'step-00000000') },
      model: {
        decoder: {
          width: WIDTH,
          headWidth: HEAD,
          keyValueHeads: 1,
          ropeTheta: 1e6,
          qkvBias: true,
          tiedEmbeddings: true,
        },
      },
    });
    expect(yaml).toContain('    headWidth: 4\n');
  });

  it('transposes matrices, and turns the kernel of the patches into rows of pixels', async () => {
    const { checkpoint } = await importWeights({ from: await decoderFolder(), to: at('ours') });
    const query = (await importedTensors(checkpoint)).get('decoder/layers/0/attention/query') ?? [];
    const theirs = randomValues('model.layers.0.self_attn.q_proj.weight', [2 * HEAD, WIDTH]);
    for (const [input, output] of [
      [0, 1],
      [4, 7],
      [5, 0],
    ] as const)
      expect(query[input * 2 * HEAD + output]).toBe(theirs[output * WIDTH + input]);

    const encoder = await importWeights({ from: await encoderFolder(), to: at('ours') });
    const kernel = (await importedTensors(encoder.checkpoint)).get('vision/patch/kernel') ?? [];
    const name = 'vision_model.embeddings.patch_embedding.weight';
    const convolution = randomValues(name, ENCODER[name] ?? []);
    for (const [feature, colour, row, column] of [
      [0, 1, 2, 0],
      [3, 2, 0, 1],
      [5, 0, 1, 2],
    ] as const) {
      const pixel = (row * 3 + column) * 3 + colour;
      expect(kernel[pixel * WIDTH + feature]).toBe(convolution[((feature * 3 + colour) * 3 + row) * 3 + column]);
    }
  });

  it('of an encoder brings its preprocessing', async () => {
    const processor = {
      size: { shortest_edge: 6 },
      crop_size: { height: 6, width: 6 },
      image_mean: [0.4, 0.5, 0.6],
      image_std: [0.1, 0.2, 0.3],
    };
    const files = { 'config.json': ENCODER_CONFIG, 'preprocessor_config.json': processor };
    const { settings, notes } = await importWeights({
      from: await writeFolder('encoder', ENCODER, files),
      to: at('ours'),
    });
    expect(notes).toEqual([]);
    expect(settings).toMatchObject({
      model: {
        vision: { classToken: true, inputNorm: true, patchBias: false, keyBias: true, activation: 'quickGelu' },
      },
      data: {
        images: { fit: 'crop', interpolation: 'bicubic', mean: { red: 0.4, blue: 0.6 }, deviation: { green: 0.2 } },
      },
    });
    await exportWeights({ checkpoint: at('ours', 'checkpoints', 'step-00000000'), to: at('back'), part: 'vision' });
    const again = await importWeights({ from: at('back'), to: at('again') });
    expect({ ...again.settings, initFrom: null }).toEqual({ ...settings, initFrom: null });
  });

  it.each([
    ['decoder', decoderFolder],
    ['vision', encoderFolder],
  ] as const)('of a %s, exported again, is the same to the last bit, also in several files', async (part, folder) => {
    const from = await folder();
    const { checkpoint } = await importWeights({ from, to: at('ours') });
    for (const fileBytes of [undefined, 300]) {
      await exportWeights({ checkpoint, to: at('theirs'), part, fileBytes });
      expect((await readdir(at('theirs'))).filter((name) => name.endsWith('.safetensors')).length > 1).toBe(
        fileBytes === 300,
      );
      expect(sorted(await publishedTensors(at('theirs')))).toEqual(sorted(await publishedTensors(from)));
      const again = await importWeights({ from: at('theirs'), to: at('again') });
      expect(sorted(await importedTensors(again.checkpoint))).toEqual(sorted(await importedTensors(checkpoint)));
    }
  });

  it('of open_clip gives the parameters of the same encoder in transformers', async () => {
    const theirs = await importWeights({ from: await encoderFolder(), to: at('ours') });
    const values = (name: string) => randomValues(`vision_model.${name}`, ENCODER[`vision_model.${name}`] ?? []);
    const joined = (...names: string[]) => Float32Array.from(names.flatMap((name) => [...values(name)]));
    const tensors: [string, readonly number[], Float32Array][] = [
      ['class_embedding', [WIDTH], values('embeddings.class_embedding')],
      ['conv1.weight', [WIDTH, 3, 3, 3], values('embeddings.patch_embedding.weight')],
      ['positional_embedding', [5, WIDTH], values('embeddings.position_embedding.weight')],
      ['proj', [WIDTH, 2], new Float32Array(2 * WIDTH)],
    ];
    const linear = (to: string, from: string, shape: readonly number[]) => {
      tensors.push([`${to}.weight`, shape, values(`${from}.weight`)]);
      tensors.push([`${to}.bias`, shape.slice(0, 1), values(`${from}.bias`)]);
    };
    linear('ln_pre', 'pre_layrnorm', [WIDTH]);
    linear('ln_post', 'post_layernorm', [WIDTH]);
    for (const block of [0, 1]) {
      const [to, from] = [`transformer.resblocks.${block}`, `encoder.layers.${block}`];
      const projections = ['q', 'k', 'v'].map((name) => `${from}.self_attn.${name}_proj`);
      tensors.push([
        `${to}.attn.in_proj_weight`,
        [3 * WIDTH, WIDTH],
        joined(...projections.map((name) => `${name}.weight`)),
      ]);
      tensors.push([`${to}.attn.in_proj_bias`, [3 * WIDTH], joined(...projections.map((name) => `${name}.bias`))]);
      linear(`${to}.attn.out_proj`, `${from}.self_attn.out_proj`, [WIDTH, WIDTH]);
      linear(`${to}.ln_1`, `${from}.layer_norm1`, [WIDTH]);
      linear(`${to}.ln_2`, `${from}.layer_norm2`, [WIDTH]);
      linear(`${to}.mlp.c_fc`, `${from}.mlp.fc1`, [FEATURES, WIDTH]);
      linear(`${to}.mlp.c_proj`, `${from}.mlp.fc2`, [WIDTH, FEATURES]);
    }
    const streams = tensors.map(([name, shape, data]) => ({ name: `visual.${name}`, shape, values: () => [data] }));
    const text: StreamedTensor = { name: 'token_embedding.weight', shape: [2], values: () => [new Float32Array(2)] };
    await writeWeightsFile(join(await folderOf('clip'), 'open_clip_model.safetensors'), [...streams, text]);
    await writeJsonFile(at('clip', 'open_clip_config.json'), {
      model_cfg: {
        quick_gelu: true,
        vision_cfg: {
          image_size: 6,
          patch_size: 3,
          width: WIDTH,
          layers: 2,
          head_width: 3,
          mlp_ratio: FEATURES / WIDTH,
        },
      },
      preprocess_cfg: { resize_mode: 'squash' },
    });
    const { checkpoint, settings } = await importWeights({ from: at('clip'), to: at('from-clip') });
    expect(sorted(await importedTensors(checkpoint))).toEqual(sorted(await importedTensors(theirs.checkpoint)));
    expect(settings.model).toEqual(theirs.settings.model);
    expect(settings.data).toMatchObject({ images: { fit: 'stretch', interpolation: 'bicubic' } });
  });

  it('takes half precision, and gives it when asked to', async () => {
    const { checkpoint } = await importWeights({ from: await decoderFolder(), to: at('ours') });
    await exportWeights({ checkpoint, to: at('half'), part: 'decoder', precision: 'bf16' });
    const half = await publishedTensors(at('half'));
    for (const [name, values] of await publishedTensors(at('decoder'))) {
      const apart = values.map((value, i) => Math.abs(value - (half.get(name)?.[i] ?? Number.NaN)) / Math.abs(value));
      expect(Math.max(...apart), name).toBeLessThanOrEqual(2 ** -8);
    }
    await importWeights({ from: at('half'), to: at('again') });
    await exportWeights({
      checkpoint: at('again', 'checkpoints', 'step-00000000'),
      to: at('half-again'),
      part: 'decoder',
    });
    expect(sorted(await publishedTensors(at('half-again')))).toEqual(sorted(half));
  });

  it('leaves out the blocks that nothing reads, and the last norm, as LLaVA does', async () => {
    const options = { from: await encoderFolder(), to: at('ours'), featureLayer: 1, outputNorm: false };
    const { checkpoint, settings } = await importWeights(options);
    expect(settings).toMatchObject({ model: { vision: { depth: 2, featureLayer: 1, outputNorm: false } } });
    const names = [...(await importedTensors(checkpoint)).keys()];
    expect(names.filter((name) => /layers\/1|vision\/norm/.test(name))).toEqual([]);
    await exportWeights({ checkpoint, to: at('theirs'), part: 'vision' });
    expect([...(await publishedTensors(at('theirs'))).keys()]).toContain('vision_model.post_layernorm.weight');
  });
});

async function folderOf(name: string): Promise<string> {
  await makeDirectory(at(name));
  return at(name);
}

describe('an import is refused, with nothing left behind,', () => {
  const refusal = async (from: string) => {
    const thrown: unknown = await importWeights({ from, to: at('out', 'ours') }).catch((error: unknown) => error);
    expect(await readdir(at('out')).catch(() => [])).toEqual([]);
    return thrown;
  };
  const without = (shapes: Shapes, ...names: string[]) =>
    Object.fromEntries(Object.entries(shapes).filter(([name]) => !names.includes(name)));

  it('for tensors that are missing, wrong or too many, all of them named', async () => {
    const shapes = {
      ...without(DECODER, 'model.norm.weight', 'model.layers.0.mlp.up_proj.weight'),
      'model.layers.0.self_attn.k_proj.bias': [9],
      'model.layers.1.input_layernorm.weight': [WIDTH],
    };
    const folder = await decoderFolder(shapes);
    expect(await refusal(folder)).toMatchObject({
      code: 'corrupt_data',
      message: `${folder} does not fit its configuration: it lacks model.layers.0.mlp.up_proj.weight, model.norm.weight; model.layers.0.self_attn.k_proj.bias is [9] instead of [4]; it holds model.layers.1.input_layernorm.weight, which the configuration leaves no place for`,
    });
  });

  it.each([
    [{ hidden_act: 'gelu' }, 'hidden_act is "gelu", but Weft computes only "silu"'],
    [{ attention_bias: true }, 'attention_bias is true, but Weft computes only false'],
    [
      { rope_scaling: { rope_type: 'yarn' } },
      'rope_scaling: rope_type is "yarn", but Weft computes only one of default',
    ],
    [{ num_hidden_layers: 0 }, 'num_hidden_layers is 0, but must be a whole number of at least 1'],
    [{ vocab_size: undefined }, 'config.json lacks vocab_size'],
    [{ model_type: 'gemma' }, 'model_type is "gemma", but Weft computes only one of llama, mistral, qwen2, qwen3'],
    [{ use_sliding_window: true }, 'use_sliding_window is true, but Weft computes only false'],
  ])('for a decoder with %o', async (change, sentence) => {
    const thrown = await refusal(await decoderFolder(DECODER, { ...DECODER_CONFIG, ...change }));
    expect(thrown).toMatchObject({ message: expect.stringContaining(sentence) as string });
  });

  it.each([
    [
      { hidden_act: 'gelu_pytorch_tanh' },
      'hidden_act is "gelu_pytorch_tanh", but Weft computes only one of quick_gelu',
    ],
    [{ image_size: 7 }, 'patches of 3 pixels do not divide images of 7'],
    [
      { model_type: 'siglip_vision_model' },
      'model_type is "siglip_vision_model", but Weft computes only "clip_vision_model"',
    ],
  ])('for an encoder with %o', async (change, sentence) => {
    const thrown = await refusal(await encoderFolder(ENCODER, { ...ENCODER_CONFIG, ...change }));
    expect(thrown).toMatchObject({ message: expect.stringContaining(sentence) as string });
  });

  it('for folders without weights, or with others than safetensors', async () => {
    expect(await refusal(at('nothing'))).toMatchObject({
      code: 'not_found',
      message: `${at('nothing')} holds no safetensors file`,
    });
    await writeFile(join(await folderOf('pickled'), 'pytorch_model.bin'), '');
    expect(await refusal(at('pickled'))).toMatchObject({
      hint: expect.stringContaining('convert pytorch_model.bin') as string,
    });
    const other = await writeFolder('other', { 'bert.weight': [1] }, { 'config.json': { model_type: 'bert' } });
    expect(await refusal(other)).toMatchObject({
      message: `${other} holds neither a vision encoder nor a decoder that Weft knows: it is of bert`,
    });
  });

  it('for an index that names a file that is not there, and for integers', async () => {
    const folder = await decoderFolder();
    await writeJsonFile(join(folder, 'model.safetensors.index.json'), { weight_map: { a: 'model-2.safetensors' } });
    expect(await refusal(folder)).toMatchObject({
      code: 'not_found',
      message: expect.stringContaining('lacks model-2.safetensors') as string,
    });
    expect(dirname(folder)).toBe(directory.path);
  });

  it('for a tokenizer of another vocabulary', async () => {
    const folder = await decoderFolder();
    const vocab = Object.fromEntries(Array.from({ length: 12 }, (_, i) => [i === 0 ? '</s>' : `t${i}`, i]));
    await writeJsonFile(join(folder, 'tokenizer.json'), {
      version: '1.0',
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'Whitespace' },
      post_processor: null,
      decoder: null,
      model: { type: 'WordLevel', vocab, unk_token: '</s>' },
    });
    expect(await refusal(folder)).toMatchObject({
      message: `${join(folder, 'tokenizer.json')} has 12 tokens, but the decoder has embeddings for 11`,
    });
  });
});
