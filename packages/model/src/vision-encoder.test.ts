import { DEFAULT_VISION, type VisionConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectBlockGradients } from '../test-support/expect-gradients.js';
import { distance, lookup, numbers, randomParameters, randomTensor } from '../test-support/tensors.js';
import { patches, visionEncoder, visionEncoderParameters } from './vision-encoder.js';

const config = { ...DEFAULT_VISION, imageSize: 4, patchSize: 2, width: 6, depth: 2, heads: 2, feedForwardWidth: 5 };
const parameters = lookup(randomParameters(visionEncoderParameters(config)));
const encode = (images: tf.Tensor) => visionEncoder(images, parameters, config);

describe('the vision encoder', () => {
  test('gives one row of features per patch', () => {
    expect(encode(randomTensor('images', [3, 4, 4, 3])).shape).toEqual([12, 6]);
  });

  test('encodes every image by itself', () => {
    const images = ['a', 'b', 'c'].map((label) => randomTensor(label, [1, 4, 4, 3]));
    const together = numbers(encode(tf.concat(images, 0)));
    const apart = images.flatMap((image) => numbers(encode(image)));
    expect(distance(together, apart)).toBeLessThan(1e-5);
  });

  test('lets every patch read every other one', () => {
    const image = randomTensor('a', [1, 4, 4, 3]);
    const lastPixel = tf.pad(tf.ones([1, 1, 1, 3]), [
      [0, 0],
      [3, 0],
      [3, 0],
      [0, 0],
    ]);
    const difference = tf.sub(encode(tf.add(image, lastPixel)), encode(image));
    expect(Math.min(...numbers(tf.norm(difference, 2, 1)))).toBeGreaterThan(1e-4);
  });

  test('knows where a patch is', () => {
    const features = encode(tf.zeros([1, 4, 4, 3]));
    const [first, second] = tf.split(features, 4, 0).map(numbers);
    expect(distance(first ?? [], second ?? [])).toBeGreaterThan(1e-2);
  });

  test('has the gradient of its definition, by every parameter', () => {
    expectBlockGradients(
      (x, p) => visionEncoder(x, p, config),
      randomTensor('images', [2, 4, 4, 3]),
      visionEncoderParameters(config),
    );
  });
});

describe('a variant of the vision encoder', () => {
  const images = randomTensor('images', [2, 4, 4, 3]);
  const encodeAs = (variant: Partial<VisionConfig>) => {
    const vision = { ...config, ...variant };
    const features = visionEncoder(images, lookup(randomParameters(visionEncoderParameters(vision))), vision);
    expect(features.shape).toEqual([8, 6]);
    return numbers(features);
  };
  const variants: readonly Partial<VisionConfig>[] = [
    { classToken: true },
    { inputNorm: true },
    { patchBias: false },
    { activation: 'gelu' },
    { normEpsilon: 0.1 },
    { featureLayer: 1 },
    { outputNorm: false },
  ];

  test.each(variants)('with %o gives other features of the same shape', (variant) => {
    expect(distance(encodeAs(variant), encodeAs({}))).toBeGreaterThan(1e-2);
  });

  test('with a bias of the keys gives the same features, because softmax ignores it', () => {
    expect(distance(encodeAs({ keyBias: true }), encodeAs({}))).toBeLessThan(1e-5);
  });

  test('that ends early gives what one of fewer blocks gives', () => {
    expect(encodeAs({ featureLayer: 1 })).toEqual(encodeAs({ depth: 1 }));
  });

  test('lets patches read the class token', () => {
    const vision = { ...config, classToken: true };
    const values = randomParameters(visionEncoderParameters(vision));
    const other = new Map([...values, ['classToken', randomTensor('another token', [6])]]);
    const [one, two] = [values, other].map((each) => numbers(visionEncoder(images, lookup(each), vision)));
    expect(distance(one ?? [], two ?? [])).toBeGreaterThan(1e-2);
  });

  test('has the gradient of its definition, by every parameter', () => {
    const vision: VisionConfig = {
      ...config,
      classToken: true,
      inputNorm: true,
      patchBias: false,
      activation: 'gelu',
      outputNorm: false,
    };
    expectBlockGradients((x, p) => visionEncoder(x, p, vision), images, visionEncoderParameters(vision));
  });
});

test('patches come row by row, and inside a patch pixels row by row with their colours', () => {
  const size = 4;
  const name = (image: number, row: number, column: number, colour: number) =>
    ((image * size + row) * size + column) * 3 + colour;
  const images = tf.reshape(tf.range(0, 2 * size * size * 3), [2, size, size, 3]);
  const expected: number[] = [];
  for (const image of [0, 1])
    for (const patchRow of [0, 1])
      for (const patchColumn of [0, 1])
        for (const row of [0, 1])
          for (const column of [0, 1])
            for (const colour of [0, 1, 2])
              expected.push(name(image, patchRow * 2 + row, patchColumn * 2 + column, colour));
  const cut = patches(images, 2);
  expect(cut.shape).toEqual([8, 12]);
  expect(numbers(cut)).toEqual(expected);
});
