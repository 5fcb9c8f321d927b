import { describe, expect, test } from 'vitest';
import {
  tinyModel,
  tinyModelOfVariants,
  tinyModelWithAttentionPool,
  tinyModelWithCAbstractor,
  tinyMoeModel,
  withMoe,
} from '../test-support/tiny-model.js';
import { countParameters, initialValue, modelParameters } from './model-parameters.js';
import { storedTensors } from './moe/expert-checkpoint-names.js';
import { expertParameters } from './moe/experts.js';

const size = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);

describe('the parameters', () => {
  test('have stable names, in the order of the forward pass', () => {
    expect(modelParameters(tinyModel).map((spec) => `${spec.name} [${spec.shape}]`)).toMatchInlineSnapshot(`
      [
        "vision/patch/kernel [12,6]",
        "vision/patch/bias [6]",
        "vision/positions [4,6]",
        "vision/layers/0/attentionNorm/gain [6]",
        "vision/layers/0/attentionNorm/bias [6]",
        "vision/layers/0/attention/query/kernel [6,6]",
        "vision/layers/0/attention/query/bias [6]",
        "vision/layers/0/attention/key [6,6]",
        "vision/layers/0/attention/value/kernel [6,6]",
        "vision/layers/0/attention/value/bias [6]",
        "vision/layers/0/attention/output/kernel [6,6]",
        "vision/layers/0/attention/output/bias [6]",
        "vision/layers/0/feedForwardNorm/gain [6]",
        "vision/layers/0/feedForwardNorm/bias [6]",
        "vision/layers/0/feedForward/up/kernel [6,8]",
        "vision/layers/0/feedForward/up/bias [8]",
        "vision/layers/0/feedForward/down/kernel [8,6]",
        "vision/layers/0/feedForward/down/bias [6]",
        "vision/norm/gain [6]",
        "vision/norm/bias [6]",
        "connector/projection/kernel [6,8]",
        "connector/projection/bias [8]",
        "decoder/embedding [7,8]",
        "decoder/layers/0/attentionNorm [8]",
        "decoder/layers/0/attention/query [8,8]",
        "decoder/layers/0/attention/key [8,4]",
        "decoder/layers/0/attention/value [8,4]",
        "decoder/layers/0/attention/queryNorm [4]",
        "decoder/layers/0/attention/keyNorm [4]",
        "decoder/layers/0/attention/output [8,8]",
        "decoder/layers/0/feedForwardNorm [8]",
        "decoder/layers/0/feedForward/gate [8,10]",
        "decoder/layers/0/feedForward/up [8,10]",
        "decoder/layers/0/feedForward/down [10,8]",
        "decoder/layers/1/attentionNorm [8]",
        "decoder/layers/1/attention/query [8,8]",
        "decoder/layers/1/attention/key [8,4]",
        "decoder/layers/1/attention/value [8,4]",
        "decoder/layers/1/attention/queryNorm [4]",
        "decoder/layers/1/attention/keyNorm [4]",
        "decoder/layers/1/attention/output [8,8]",
        "decoder/layers/1/feedForwardNorm [8]",
        "decoder/layers/1/feedForward/gate [8,10]",
        "decoder/layers/1/feedForward/up [8,10]",
        "decoder/layers/1/feedForward/down [10,8]",
        "decoder/norm [8]",
        "decoder/head [8,7]",
      ]
    `);
  });

  test('of every variant have names of their own', () => {
    const ordinary = new Set(modelParameters(tinyModel).map(({ name }) => name));
    const names = modelParameters(tinyModelOfVariants).map(({ name, shape }) => `${name} [${shape}]`);
    expect(names.filter((name) => !ordinary.has(name.split(' ')[0] ?? ''))).toMatchInlineSnapshot(`
      [
        "vision/classToken [6]",
        "vision/inputNorm/gain [6]",
        "vision/inputNorm/bias [6]",
        "vision/layers/1/attentionNorm/gain [6]",
        "vision/layers/1/attentionNorm/bias [6]",
        "vision/layers/1/attention/query/kernel [6,6]",
        "vision/layers/1/attention/query/bias [6]",
        "vision/layers/1/attention/key [6,6]",
        "vision/layers/1/attention/value/kernel [6,6]",
        "vision/layers/1/attention/value/bias [6]",
        "vision/layers/1/attention/output/kernel [6,6]",
        "vision/layers/1/attention/output/bias [6]",
        "vision/layers/1/feedForwardNorm/gain [6]",
        "vision/layers/1/feedForwardNorm/bias [6]",
        "vision/layers/1/feedForward/up/kernel [6,8]",
        "vision/layers/1/feedForward/up/bias [8]",
        "vision/layers/1/feedForward/down/kernel [8,6]",
        "vision/layers/1/feedForward/down/bias [6]",
        "decoder/layers/0/attention/queryBias [12]",
        "decoder/layers/0/attention/keyBias [6]",
        "decoder/layers/0/attention/valueBias [6]",
        "decoder/layers/1/attention/queryBias [12]",
        "decoder/layers/1/attention/keyBias [6]",
        "decoder/layers/1/attention/valueBias [6]",
      ]
    `);
    const absent = ['vision/patch/bias', 'vision/norm/gain', 'vision/layers/2/attention/key', 'decoder/head'];
    for (const name of absent)
      expect(
        names.some((each) => each.startsWith(`${name} `)),
        name,
      ).toBe(false);
  });

  test('have unique names, whatever the connector', () => {
    for (const model of [tinyModel, tinyModelWithAttentionPool, tinyModelWithCAbstractor, tinyModelOfVariants]) {
      const names = modelParameters(model).map((spec) => spec.name);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  test('decay unless they are norms, biases or positions', () => {
    for (const { name, weightDecay } of [
      tinyModelWithAttentionPool,
      tinyModelWithCAbstractor,
      tinyModelOfVariants,
    ].flatMap(modelParameters)) {
      expect(weightDecay, name).toBe(!/(norm|gain|bias|positions|classToken|queries)$/i.test(name));
    }
  });
});

describe('initial values', () => {
  const byName = new Map(modelParameters(tinyModel).map((spec) => [spec.name, spec]));
  const spec = (name: string) => byName.get(name) ?? expect.fail(`there is no ${name}`);

  test('depend on the seed and the name alone', () => {
    const query = spec('decoder/layers/0/attention/query');
    expect(initialValue(query, 1)).toEqual(initialValue({ ...query }, 1));
    expect(initialValue(query, 1)).not.toEqual(initialValue(query, 2));
    expect(initialValue(query, 1)).not.toEqual(initialValue(spec('decoder/layers/1/attention/query'), 1));
  });

  test('are normal with deviation 0.02, and 0.02/√(2·depth) where a layer writes into the stream', () => {
    const large = { ...spec('decoder/layers/0/attention/query'), shape: [200, 200] };
    const values = initialValue(large, 7);
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length);
    expect(Math.abs(mean)).toBeLessThan(4e-4);
    expect(deviation).toBeCloseTo(0.02, 3);
    for (const name of ['decoder/layers/0/attention/output', 'decoder/layers/1/feedForward/down']) {
      expect(spec(name).init).toEqual({ kind: 'normal', stddev: 0.02 / Math.sqrt(2 * 2) });
    }
    expect(spec('vision/layers/0/attention/output/kernel').init).toEqual({
      kind: 'normal',
      stddev: 0.02 / Math.sqrt(2),
    });
  });

  test('are 1 for norms and 0 for biases', () => {
    expect([...initialValue(spec('decoder/norm'), 3)]).toEqual(Array(8).fill(1));
    expect([...initialValue(spec('vision/patch/bias'), 3)]).toEqual(Array(6).fill(0));
  });
});

describe('countParameters', () => {
  test('adds up to the shapes of all parameters', () => {
    for (const model of [tinyModel, tinyModelWithAttentionPool, tinyModelWithCAbstractor, tinyModelOfVariants]) {
      const counts = countParameters(model);
      expect(counts.total).toBe(modelParameters(model).reduce((sum, { shape }) => sum + size(shape), 0));
      expect(counts.vision + counts.connector + counts.decoder).toBe(counts.total);
      expect(counts.embedding + counts.nonEmbedding).toBe(counts.total);
    }
  });

  test('counts tables and the head as embedding, and nothing else', () => {
    expect(countParameters(tinyModel).embedding).toBe(4 * 6 + 7 * 8 + 8 * 7);
    expect(countParameters(tinyModelWithCAbstractor).embedding).toBe(4 * 6 + 4 * 6 + 7 * 8 + 8 * 7);
  });

  test("gives the known sizes of AXLearn's decoders at MM1's scales", () => {
    const decoder = (depth: number, width: number, heads: number, feedForwardWidth: number) =>
      countParameters({
        ...tinyModel,
        decoder: {
          ...tinyModel.decoder,
          depth,
          width,
          heads,
          headWidth: width / heads,
          keyValueHeads: heads,
          feedForwardWidth,
          vocabularySize: 32768,
        },
      }).decoderNonEmbedding;
    expect(decoder(12, 768, 12, 2048) / 84.9e6).toBeCloseTo(1, 2);
    expect(decoder(24, 1024, 16, 2816) / 308e6).toBeCloseTo(1, 2);
    expect(decoder(24, 2048, 32, 5632) / 1.233e9).toBeCloseTo(1, 2);
    expect(decoder(32, 4096, 32, 11008) / 6.476e9).toBeCloseTo(1, 2);
  });

  test('counts of a MoE model all experts, and as active those of one token', () => {
    const { width, feedForwardWidth, depth } = tinyModel.decoder;
    const expert = 3 * width * feedForwardWidth;
    const dense = countParameters(tinyModel);
    expect(dense).toMatchObject({ active: dense.total, experts: 0 });
    for (const everyLayers of [1, 2]) {
      const counts = countParameters(withMoe(tinyMoeModel, { everyLayers, experts: 7 }));
      const layers = depth / everyLayers;
      expect(counts.experts).toBe(layers * 7 * expert);
      expect(counts.total).toBe(dense.total + layers * (6 * expert + 7 * width));
      expect(counts.active).toBe(dense.total + layers * (expert + 7 * width));
    }
  });
});

describe('the axes of parameters', () => {
  const all = [
    tinyModel,
    tinyModelWithAttentionPool,
    tinyModelWithCAbstractor,
    tinyMoeModel,
    tinyModelOfVariants,
  ].flatMap(modelParameters);

  test('have a meaning each, and none twice in an array', () => {
    for (const { name, shape, axes } of all) {
      const named = axes.filter((axis) => axis !== null);
      expect(axes, name).toHaveLength(shape.length);
      expect(new Set(named).size, name).toBe(named.length);
    }
  });

  test('let a mesh cut every matrix of the decoder twice', () => {
    const matrices = all.filter(({ name, shape }) => name.startsWith('decoder/') && shape.length > 1);
    for (const { name, axes } of matrices)
      if (!name.endsWith('moe/router')) expect(axes.filter((axis) => axis !== null).length, name).toBeGreaterThan(1);
  });
});

describe('an expert', () => {
  test('starts the same whichever worker holds it', () => {
    const [gate] = expertParameters(tinyMoeModel);
    const [part] = expertParameters(tinyMoeModel, { first: 1, end: 3 });
    if (gate === undefined || part === undefined) throw new Error('there are no experts');
    expect(part.shape).toEqual([2, 8, 10]);
    expect(initialValue(part, 3)).toEqual(initialValue(gate, 3).slice(80, 240));
    const distinct = new Set(initialValue(gate, 3));
    expect(distinct.size).toBe(4 * 80);
  });

  test('is stored under a name of its own', () => {
    const stored = storedTensors('adam/m/decoder/layers/1/experts/down', [2, 10, 8], 1);
    expect(stored).toEqual([
      { name: 'adam/m/decoder/layers/1/experts/1/down', shape: [10, 8], offset: 0 },
      { name: 'adam/m/decoder/layers/1/experts/2/down', shape: [10, 8], offset: 80 },
    ]);
  });
});
