import { Random } from '@weft/common';
import { type ModelConfig, type RunConfig, resolveRunConfig } from '@weft/config';
import { imagePixels } from '@weft/data';
import {
  decoder,
  decoderInput,
  imageTokens,
  localExperts,
  MoeLayers,
  modelParameters,
  type Parameters,
  scope,
} from '@weft/model';
import { elementCount, tf } from '@weft/tensor';
import { pngPicture, tinyRun } from '@weft/testing';
import type { EncodedPrompt, ImageSegment, Prompt } from '../prompt.js';

const sizes = { ...tinyRun.model.decoder, depth: 2, heads: 4, width: 16 };
const decoders = {
  dense: sizes,
  'grouped queries': {
    ...{ ...sizes, keyValueHeads: 2, qkNorm: true, headWidth: 6, qkvBias: true, tiedEmbeddings: true },
    ropeScaling: { factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalLength: 16 },
  },
  experts: { ...sizes, moe: { experts: 4, everyLayers: 2, capacityFactor: 1, jitter: 0.1 } },
};

/** A kind of decoder. */
export type Kind = 'dense' | 'grouped queries' | 'experts';
export const KINDS: readonly Kind[] = ['dense', 'grouped queries', 'experts'];

/** A run of a tiny model with one kind of decoder: images take 4 positions, texts 41. */
export function tinyConfig(kind: Kind): RunConfig {
  const decoder = decoders[kind];
  return resolveRunConfig({ ...tinyRun, model: { ...tinyRun.model, decoder, sequenceLength: 41 } });
}

/** Random parameters, large enough for every one of them to decide what is generated. */
export function randomParameters({ model }: RunConfig): ReadonlyMap<string, Float32Array> {
  return new Map(
    modelParameters(model).map(({ name, shape, init }) => {
      const random = Random.of('parameters', name);
      const start = init.kind === 'constant' ? init.value : 0;
      return [name, Float32Array.from({ length: elementCount(shape) }, () => start + 0.4 * random.normal())];
    }),
  );
}

/** The same as a generator takes them. */
export async function* asValues(parameters: ReadonlyMap<string, Float32Array>) {
  yield* parameters;
}

const COLOURS = {
  red: [255, 0, 0],
  blue: [0, 0, 255],
  white: [255, 255, 255],
  black: [0, 0, 0],
  green: [0, 128, 0],
  yellow: [255, 255, 0],
  purple: [128, 0, 128],
  orange: [255, 165, 0],
} as const;

/** A picture of one colour with a square of another. */
function picture(background: keyof typeof COLOURS, square: keyof typeof COLOURS): ImageSegment {
  const isInside = (x: number, y: number) => x >= 2 && x < 9 && y >= 4 && y < 13;
  const bytes = pngPicture(16, 16, (x, y) => COLOURS[isInside(x, y) ? square : background]);
  return { kind: 'image', bytes, name: `${square} on ${background}` };
}

/** Prompts of mixed lengths, with images in front, between texts, in a row, at the end, alone, and none. */
export const PROMPTS: readonly Prompt[] = [
  [{ kind: 'text', text: 'a' }],
  [picture('red', 'blue'), { kind: 'text', text: 'what is it' }],
  [{ kind: 'text', text: 'first ' }, picture('white', 'black'), { kind: 'text', text: ' then some more of it' }],
  [picture('green', 'yellow'), picture('red', 'blue'), { kind: 'text', text: 'é' }],
  [{ kind: 'text', text: 'the longest of the prompts ends so' }, picture('blue', 'white')],
  [picture('purple', 'orange')],
  [{ kind: 'text', text: 'again a short one' }],
];

/** The logits behind the last position of a text, from the model itself: everything is computed anew, nothing is dropped. */
export async function logitsWithoutCache(
  { model, data }: Pick<RunConfig, 'model' | 'data'>,
  parameters: ReadonlyMap<string, Float32Array>,
  { positions, images }: EncodedPrompt,
  newTokens: readonly number[],
): Promise<Float32Array> {
  const { imageSize } = model.vision;
  const pixels = await Promise.all(images.map(({ bytes, name }) => imagePixels(bytes, name, imageSize, data.images)));
  const entries = [...positions, ...newTokens];
  const shapes = new Map(modelParameters(model).map(({ name, shape }) => [name, shape]));
  await tf.setBackend('cpu');
  return tf.tidy(() => {
    const parameter: Parameters = (name) => tf.tensor(parameters.get(name)!, [...shapes.get(name)!]);
    const ints = (values: readonly number[]) => tf.tensor2d([...values], [1, values.length], 'int32');
    const tokens_MD =
      images.length === 0
        ? tf.zeros([1, model.decoder.width])
        : imageTokens(
            model,
            parameter,
            tf.concat(
              pixels.map((each) => tf.tensor4d(each, [each.length / (imageSize ** 2 * 3), imageSize, imageSize, 3])),
            ),
          );
    const x_RD = decoderInput(
      tokens_MD,
      parameter('decoder/embedding'),
      ints(entries.map((entry) => Math.max(entry, 0))),
      ints(entries.map((entry) => Math.max(-entry, 0))),
    );
    const ones = ints(entries.map(() => 1));
    const moe = dropless(model, parameter, ones);
    const logits_RV = decoder(
      x_RD,
      scope(parameter, 'decoder'),
      model.decoder,
      ones,
      ints(entries.map((_, i) => i)),
      moe,
    );
    return logits_RV
      .slice([entries.length - 1, 0], [1, -1])
      .dataSync<'float32'>()
      .slice();
  });
}

function dropless(model: ModelConfig, parameter: Parameters, ones_BT: tf.Tensor): MoeLayers | undefined {
  const { moe } = model.decoder;
  if (moe === null) return undefined;
  const decoder = { ...model.decoder, moe: { ...moe, capacityFactor: 'dropless', groupSize: 0, jitter: 0 } as const };
  const batch = { tokenIds_BT: ones_BT, segmentIds_BT: ones_BT, lossMask_BT: tf.zerosLike(ones_BT).toFloat() };
  return new MoeLayers({ ...model, decoder }, batch, localExperts(model, parameter));
}
