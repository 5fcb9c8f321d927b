import { tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectBlockGradients } from '../test-support/expect-gradients.js';
import { distance, lookup, numbers, randomParameters, randomTensor } from '../test-support/tensors.js';
import {
  attentionPool,
  attentionPoolParameters,
  averagePool,
  averagePoolParameters,
  cAbstractor,
  cAbstractorParameters,
} from './connector.js';
import { regStage, regStageParameters, squeezeExcitation, squeezeExcitationParameters } from './reg-stage.js';

describe('averagePool', () => {
  test('is the mean of n×n patches, then a linear map', () => {
    const parameters = randomParameters(averagePoolParameters(3, 5));
    const features = randomTensor('features', [2, 16, 3]);
    const squares = tf.reshape(tf.mean(tf.reshape(features, [2, 2, 2, 2, 2, 3]), [2, 4]), [8, 3]);
    const kernel = parameters.get('projection/kernel') as tf.Tensor;
    const expected = tf.add(tf.matMul(squares, kernel), parameters.get('projection/bias') as tf.Tensor);
    const pooled = averagePool(features, lookup(parameters), 4);
    expect(pooled.shape).toEqual([8, 5]);
    expect(distance(numbers(pooled), numbers(expected))).toBeLessThan(1e-5);
  });

  test('averages bins that overlap where they do not divide the grid', () => {
    const parameters = randomParameters(averagePoolParameters(3, 5));
    const features = randomTensor('features', [1, 9, 3]);
    const grid = tf.reshape<tf.Rank.R4>(features, [1, 3, 3, 3]);
    const corners = [0, 1].flatMap((row) => [0, 1].map((column) => tf.slice(grid, [0, row, column, 0], [1, 2, 2, 3])));
    const means = tf.stack(corners.map((corner) => tf.reshape(tf.mean(corner, [1, 2]), [3])));
    const kernel = parameters.get('projection/kernel') as tf.Tensor;
    const expected = tf.add(tf.matMul(means, kernel), parameters.get('projection/bias') as tf.Tensor);
    expect(distance(numbers(averagePool(features, lookup(parameters), 4)), numbers(expected))).toBeLessThan(1e-5);
  });

  test('has the gradient of its definition', () => {
    expectBlockGradients((x, p) => averagePool(x, p, 4), randomTensor('x', [2, 16, 3]), averagePoolParameters(3, 5));
  });
});

describe('attentionPool', () => {
  const [patches, width, heads, tokens, decoderWidth] = [9, 6, 2, 4, 5];
  const specs = attentionPoolParameters(tokens, width, decoderWidth);

  test('gives each learned query its own weighted mean of the patches, by head', () => {
    const values = randomParameters(specs);
    const of = (name: string) => values.get(name) as tf.Tensor2D;
    const x = randomTensor('x', [2, patches, width]);
    const pooled = attentionPool(x, lookup(values), { heads });
    expect(pooled.shape).toEqual([2 * tokens, decoderWidth]);
    const expected = [0, 1].flatMap((image) => {
      const rows = tf.reshape<tf.Rank.R2>(tf.slice(x, [image, 0, 0], [1, patches, width]), [patches, width]);
      const { mean, variance } = tf.moments(rows, 1, true);
      const normal = tf.div(tf.sub(rows, mean), tf.sqrt(tf.add(variance, 1e-5)));
      const scaled = tf.add(tf.mul(normal, of('norm/gain')), of('norm/bias'));
      const keys = tf.matMul(scaled as tf.Tensor2D, of('key/kernel'));
      const read = tf.add(tf.matMul(scaled as tf.Tensor2D, of('value/kernel')), of('value/bias'));
      const byHead = [0, 1].map((head) => {
        const part = (tensor: tf.Tensor) => tf.slice(tensor as tf.Tensor2D, [0, 3 * head], [-1, 3]);
        const scores = tf.matMul(part(of('queries')), part(keys), false, true);
        return tf.matMul(tf.softmax(tf.div(scores, Math.sqrt(3))) as tf.Tensor2D, part(read));
      });
      return numbers(tf.add(tf.matMul(tf.concat(byHead, 1), of('output/kernel')), of('output/bias')));
    });
    expect(distance(numbers(pooled), expected)).toBeLessThan(1e-5);
  });

  test('has the gradient of its definition, by every parameter', () => {
    expectBlockGradients((x, p) => attentionPool(x, p, { heads }), randomTensor('x', [2, patches, width]), specs);
  });
});

describe('squeeze and excitation', () => {
  test('scales whole channels of one image, by gates between 0 and 1', () => {
    const x = randomTensor('x', [2, 4, 3]);
    const y = squeezeExcitation(x, lookup(randomParameters(squeezeExcitationParameters(3, 2))));
    const gates = numbers(tf.div(y, x));
    for (const image of [0, 1])
      for (const channel of [0, 1, 2]) {
        const ofChannel = [0, 1, 2, 3].map((position) => gates[(image * 4 + position) * 3 + channel] ?? Number.NaN);
        expect(Math.max(...ofChannel) - Math.min(...ofChannel)).toBeLessThan(1e-5);
        expect(ofChannel[0]).toBeGreaterThan(0);
        expect(ofChannel[0]).toBeLessThan(1);
      }
  });

  test('has the gradient of its definition', () => {
    expectBlockGradients(squeezeExcitation, randomTensor('x', [2, 4, 3]), squeezeExcitationParameters(3, 2));
  });
});

describe('a RegStage', () => {
  test('has a learned shortcut only where the channels change', () => {
    const names = regStageParameters(4, 6, 2).map((spec) => spec.name);
    expect(names.filter((name) => name.includes('shortcut'))).toEqual([
      'blocks/0/shortcut/kernel',
      'blocks/0/shortcut/norm/gain',
      'blocks/0/shortcut/norm/bias',
    ]);
  });

  test('squeezes to a quarter of the channels that enter the block', () => {
    const shapes = regStageParameters(16, 8, 2).filter(({ name }) => name.endsWith('gate/squeeze/kernel'));
    expect(shapes.map((spec) => spec.shape)).toEqual([
      [8, 4],
      [8, 2],
    ]);
  });

  test('mixes neighbours in the grid and keeps images apart', () => {
    const stage = (x: tf.Tensor) => regStage(x, lookup(randomParameters(regStageParameters(3, 4, 1))), 4, 1);
    const images = ['a', 'b'].map((label) => randomTensor(label, [1, 9, 3]));
    const together = numbers(stage(tf.concat(images, 0)));
    expect(
      distance(
        together,
        images.flatMap((image) => numbers(stage(image))),
      ),
    ).toBeLessThan(1e-5);
  });

  test('has the gradient of its definition, by every parameter', () => {
    expectBlockGradients((x, p) => regStage(x, p, 4, 2), randomTensor('x', [2, 9, 3]), regStageParameters(3, 4, 2));
  });
});

describe('the C-Abstractor', () => {
  const config = { kind: 'cAbstractor', tokensPerImage: 4, hiddenWidth: 5, depth: 1 } as const;
  const specs = cAbstractorParameters(config, 9, 3, 6);

  test('gives K tokens of the width of the decoder per image, also where bins overlap', () => {
    const tokens = cAbstractor(randomTensor('x', [2, 9, 3]), lookup(randomParameters(specs)), config);
    expect(tokens.shape).toEqual([8, 6]);
  });

  test('has the gradient of its definition, by every parameter', () => {
    expectBlockGradients((x, p) => cAbstractor(x, p, config), randomTensor('x', [2, 9, 3]), specs);
  });
});
