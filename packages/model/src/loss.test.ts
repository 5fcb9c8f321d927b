import { tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { expectJointGradient } from '../test-support/expect-gradients.js';
import { pack } from '../test-support/pack.js';
import { lookup, numbers, randomParameters } from '../test-support/tensors.js';
import { tinyModel, tinyModelWithCAbstractor, tinyMoeModel, withMoe } from '../test-support/tiny-model.js';
import { BATCH_FIELDS, batchSpecs } from './batch.js';
import { initialValue } from './initial-value.js';
import { lossSum } from './loss.js';
import { modelParameters } from './model-parameters.js';

/** Two experts that drop nothing: no small change of a parameter sends a token elsewhere. */
const smoothMoe = { experts: 2, capacityFactor: 'dropless', loadBalanceWeight: 0 } as const;
const plainDecoder = { ...tinyModel, decoder: { ...tinyModel.decoder, qkNorm: false, keyValueHeads: 2 } };

describe.each([
  ['averagePool, grouped queries and QK-norm', tinyModel],
  ['cAbstractor', tinyModelWithCAbstractor],
  ['a MoE layer', withMoe(tinyMoeModel, smoothMoe)],
  ['MoE layers only', withMoe(tinyMoeModel, { ...smoothMoe, everyLayers: 1, groupSize: 4, jitter: 0.2 })],
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
  const loss = (values: ReadonlyMap<string, tf.Tensor>) => lossSum(model, lookup(values), batch);

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
    const noted = (name: string) => {
      used.add(name);
      return lookup(values)(name);
    };
    lossSum(model, noted, batch);
    expect([...used].sort()).toEqual([...names].sort());
  });

  test('starts with the loss of a guess among all tokens', () => {
    const start = new Map(specs.map((spec) => [spec.name, tf.tensor(initialValue(spec, 1), [...spec.shape])]));
    const targets = numbers(tf.sum(batch.lossMask_BT))[0] ?? Number.NaN;
    const perToken = (numbers(loss(start))[0] ?? Number.NaN) / targets;
    expect(perToken).toBeCloseTo(Math.log(model.decoder.vocabularySize), 1);
  });

  test('describes its batch', () => {
    const described = batchSpecs(model, 1, 1);
    for (const field of BATCH_FIELDS) {
      expect({ shape: batch[field].shape, dtype: batch[field].dtype }, field).toEqual(described[field]);
    }
  });
});
