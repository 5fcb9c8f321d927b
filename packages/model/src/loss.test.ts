import { sparseSoftmaxCrossEntropy, tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectJointGradient } from '../test-support/expect-gradients.js';
import { type Element, pack, type Segment } from '../test-support/pack.js';
import { distance, lookup, numbers, randomParameters } from '../test-support/tensors.js';
import {
  tinyModel,
  tinyModelOfVariants,
  tinyModelWithAttentionPool,
  tinyModelWithCAbstractor,
  tinyMoeModel,
  tinyParameters,
  withMoe,
} from '../test-support/tiny-model.js';
import { BATCH_FIELDS, batchSpecs } from './batch.js';
import { logits, lossParts } from './loss.js';
import { initialValue, modelParameters } from './model-parameters.js';

/** Two experts that drop nothing: no small change of a parameter sends a token elsewhere. */
const smoothMoe = { experts: 2, capacityFactor: 'dropless', loadBalanceWeight: 0 } as const;
const plainDecoder = { ...tinyModel, decoder: { ...tinyModel.decoder, qkNorm: false, keyValueHeads: 2 } };

describe.each([
  ['averagePool, grouped queries and QK-norm', tinyModel],
  ['attentionPool', tinyModelWithAttentionPool],
  ['cAbstractor', tinyModelWithCAbstractor],
  ['a MoE layer', withMoe(tinyMoeModel, smoothMoe)],
  ['MoE layers only', withMoe(tinyMoeModel, { ...smoothMoe, everyLayers: 1, groupSize: 4, jitter: 0.2 })],
  ['every variant of encoder and decoder', tinyModelOfVariants],
  ['no QK-norm and as many key-value heads as heads', plainDecoder],
])('the whole model with %s', (_, model) => {
  const batch = pack(
    model,
    [
      [
        [1, { image: 'cat' }, 2, 3],
        [4, 5],
      ],
    ],
    1,
  );
  const specs = modelParameters(model);
  const names = specs.map((spec) => spec.name);
  const loss = (values: ReadonlyMap<string, tf.Tensor>) => lossParts(model, lookup(values), batch).objective;

  test('has the gradient of its definition, by every parameter', () => {
    const values = randomParameters(specs);
    expectJointGradient(
      (...given) => loss(new Map(names.map((name, i) => [name, given[i] as tf.Tensor]))),
      Object.fromEntries(values),
    );
  });

  test('uses every parameter it declares, and declares every one it uses', () => {
    const values = randomParameters(specs);
    const used = new Set<string>();
    const recordUse = (name: string) => {
      used.add(name);
      return lookup(values)(name);
    };
    lossParts(model, recordUse, batch);
    expect([...used].sort()).toEqual([...names].sort());
  });

  test('starts with the loss of a guess among all tokens', () => {
    const start = new Map(specs.map((spec) => [spec.name, tf.tensor(initialValue(spec, 1), [...spec.shape])]));
    const targets = numbers(tf.sum(batch.lossMask_BT))[0] ?? Number.NaN;
    const perToken = (numbers(loss(start))[0] ?? Number.NaN) / targets;
    expect(perToken).toBeCloseTo(Math.log(model.decoder.vocabularySize), 1);
  });

  test('describes its batch', () => {
    const described = batchSpecs(model, { sequences: 1, images: 1 });
    for (const field of BATCH_FIELDS) {
      expect(described[field], field).toMatchObject({ shape: batch[field].shape, dtype: batch[field].dtype });
    }
    expect(batchSpecs(model, { sequences: 1, images: 0 })).not.toHaveProperty('images_NHWC');
  });
});

const cat: Element = { image: 'cat' };
const dog: Element = { image: 'dog' };
const SAME = 2e-5;

describe.each([
  ['averagePool', tinyModel],
  ['cAbstractor', tinyModelWithCAbstractor],
])('segments of a packed sequence, with %s', (_, model) => {
  const parameters = tinyParameters(model);
  const { vocabularySize } = model.decoder;

  /** The scores at every position of the first sequence. */
  function scores(...segments: Segment[]): number[][] {
    const all = numbers(logits(model, parameters, pack(model, [segments])));
    return Array.from({ length: model.sequenceLength }, (_, t) =>
      all.slice(t * vocabularySize, (t + 1) * vocabularySize),
    );
  }
  const loss = (...sequences: Segment[][]) =>
    numbers(lossParts(model, parameters, pack(model, sequences)).objective)[0] ?? Number.NaN;
  const moved = (a: number[][], b: number[][]) => a.map((row, t) => distance(row, b[t] ?? []) > SAME);
  const imageLength = model.connector.tokensPerImage;

  test('a token is seen at its own and later positions of its segment, nowhere else', () => {
    const before = scores([1, 2, 3], [4, 5, 6, 1], [2, 2]);
    const after = scores([1, 2, 3], [4, 0, 6, 1], [2, 2]);
    expect(moved(before, after)).toEqual([
      false,
      false,
      false,
      false,
      true,
      true,
      true,
      false,
      false,
      false,
      false,
      false,
    ]);
  });

  test('an image is seen at its own and later positions of its segment, nowhere else', () => {
    const before = scores([1, 2], [3, cat, 5, 6]);
    const after = scores([1, 2], [3, dog, 5, 6]);
    const seen = moved(before, after);
    const start = 3;
    const end = start + imageLength + 2;
    expect(seen.every((changed, t) => !changed || (t >= start && t < end))).toBe(true);
    expect(seen.slice(start + imageLength, end)).toEqual([true, true]);
  });

  test('padding contributes nothing: not its tokens, nor unused images', () => {
    const packed = pack(model, [[[1, 2, 3, cat, 4]]]);
    const used = 4 + imageLength;
    const junk = tf.tensor2d(
      Array.from({ length: model.sequenceLength }, (_, t) => (t < used ? 0 : 3)),
      [1, model.sequenceLength],
      'int32',
    );
    const changed = {
      ...packed,
      tokenIds_BT: tf.add(packed.tokenIds_BT, junk),
      targetIds_BT: tf.add(packed.targetIds_BT, junk),
      images_NHWC: tf.concat([tf.slice(packed.images_NHWC, 0, 1), tf.fill([1, 4, 4, 3], 0.7)], 0),
    };
    expect(numbers(lossParts(model, parameters, changed).objective)).toEqual(
      numbers(lossParts(model, parameters, packed).objective),
    );
    expect(loss([[1, 2, 3, cat, 4]], [])).toBeCloseTo(loss([[1, 2, 3, cat, 4]]), 4);
    expect(loss([])).toBe(0);
  });

  test('a batch of text alone has the loss that it has beside unused images, and needs neither encoder nor connector', () => {
    const { images_NHWC: _, ...text } = pack(model, [
      [
        [1, 2, 3],
        [4, 5],
      ],
    ]);
    const used: string[] = [];
    const noted = (name: string) => {
      used.push(name);
      return parameters(name);
    };
    expect(numbers(lossParts(model, noted, text).objective)[0]).toBe(
      loss([
        [1, 2, 3],
        [4, 5],
      ]),
    );
    expect(used.filter((name) => !name.startsWith('decoder/'))).toEqual([]);
  });

  test('the loss of a segment does not depend on what it is packed with, nor in which order', () => {
    const a: Segment = [1, 2, 3];
    const b: Segment = [5, cat, 6];
    const c: Segment = [4, 4];
    const apart = loss([a]) + loss([b]) + loss([c]);
    for (const order of [
      [a, b, c],
      [c, b, a],
      [b, a, c],
    ])
      expect(loss(order)).toBeCloseTo(apart, 3);
    expect(loss([a], [c, b])).toBeCloseTo(apart, 3);
  });

  test('every image reaches the positions that name it', () => {
    const first: Segment = [1, cat, 2];
    const second: Segment = [3, dog, 4];
    const length = imageLength + 2;
    const [here, there] = [scores(first, second), scores(second, first)];
    expect(distance(here.slice(0, length).flat(), there.slice(length, 2 * length).flat())).toBeLessThan(SAME);
    expect(distance(here.slice(length, 2 * length).flat(), there.slice(0, length).flat())).toBeLessThan(SAME);
    expect(distance(scores([1, cat, 2]).flat(), scores([1, dog, 2]).flat())).toBeGreaterThan(1e-2);
  });
});

test('the loss is the sum of cross-entropies where the mask is 1', () => {
  const batch = pack(tinyModel, [
    [
      [1, 2, 3],
      [cat, 4, 5],
    ],
    [[6, 1, 0, 2]],
  ]);
  const parameters = tinyParameters(tinyModel);
  const all = numbers(logits(tinyModel, parameters, batch));
  const targets = numbers(batch.targetIds_BT);
  const mask = numbers(batch.lossMask_BT);
  const expected = targets.reduce((sum, target, row) => {
    const scores = all.slice(row * 7, (row + 1) * 7);
    const total = scores.reduce((s, score) => s + Math.exp(score), 0);
    return sum + (mask[row] ?? 0) * (Math.log(total) - (scores[target] ?? Number.NaN));
  }, 0);
  expect(mask.reduce((sum, m) => sum + m, 0)).toBe(2 + 2 + 3);
  expect(numbers(lossParts(tinyModel, parameters, batch).objective)[0]).toBeCloseTo(expected, 3);
  expect(numbers(sparseSoftmaxCrossEntropy(tf.zeros([1, 7]), tf.tensor1d([3], 'int32')))[0]).toBeCloseTo(
    Math.log(7),
    5,
  );
});
