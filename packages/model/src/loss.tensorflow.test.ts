import { createExecutor, type EngineKind } from '@weft/backend-tensorflow';
import { type Executor, type Program, tf } from '@weft/tensor';
import { afterAll, describe, expect, test } from 'vitest';
import { pack } from '../test-support/pack.js';
import { lookup } from '../test-support/tensors.js';
import {
  tinyModel,
  tinyModelOfVariants,
  tinyModelWithAttentionPool,
  tinyModelWithCAbstractor,
  tinyMoeModel,
  withMoe,
} from '../test-support/tiny-model.js';
import { BATCH_FIELDS, batchSpecs } from './batch.js';
import { lossParts } from './loss.js';
import { initialValue, modelParameters } from './model-parameters.js';

const opened: Executor[] = [];
afterAll(async () => {
  for (const executor of opened) await executor.dispose();
});

describe.each([
  ['averagePool', tinyModel],
  ['attentionPool', tinyModelWithAttentionPool],
  ['cAbstractor', tinyModelWithCAbstractor],
  ['all variants', tinyModelOfVariants],
  ['a MoE layer', tinyMoeModel],
  [
    'MoE layers that drop nothing',
    withMoe(tinyMoeModel, { everyLayers: 1, capacityFactor: 'dropless', groupSize: 6, jitter: 0.1 }),
  ],
])('the whole model with %s', (_, model) => {
  const specs = modelParameters(model);
  const names = specs.map((spec) => spec.name);
  const [sequences, images] = [2, 2];

  const program: Program = {
    name: 'model',
    state: Object.fromEntries(specs.map(({ name, shape }) => [name, { shape, dtype: 'float32' }])),
    phases: {
      gradients: {
        inputs: batchSpecs(model, { sequences, images: sequences * images }),
        run: ({ input, read }) => {
          const batch = {
            tokenIds_BT: input('tokenIds_BT'),
            targetIds_BT: input('targetIds_BT'),
            lossMask_BT: input('lossMask_BT'),
            segmentIds_BT: input('segmentIds_BT'),
            positions_BT: input('positions_BT'),
            imageTokenIndex_BT: input('imageTokenIndex_BT'),
            images_NHWC: input('images_NHWC'),
          };
          const loss = (...values: tf.Tensor[]) =>
            lossParts(model, lookup(new Map(names.map((name, i) => [name, values[i] as tf.Tensor]))), batch).objective;
          const { value, grads } = tf.valueAndGrads(loss)(names.map(read));
          return { loss: value, ...Object.fromEntries(names.map((name, i) => [name, grads[i] as tf.Tensor])) };
        },
      },
    },
  };

  const packed = pack(
    model,
    [
      [
        [1, { image: 'cat' }, 2, 3],
        [4, 5],
      ],
      [
        [6, 0, 1],
        [{ image: 'dog' }, 2],
      ],
    ],
    images,
  );
  const inputs = Object.fromEntries(
    BATCH_FIELDS.map((field) => [field, packed[field].dataSync() as Float32Array | Int32Array]),
  );

  async function open(kind: EngineKind): Promise<Executor> {
    const executor = createExecutor(program, { kind, precision: 'fp32', threads: 2 });
    opened.push(executor);
    await executor.writeState(Object.fromEntries(specs.map((spec) => [spec.name, initialValue(spec, 5)])));
    return executor;
  }

  /** The loss and all gradients, copied to the host. */
  async function gradients(executor: Executor): Promise<Map<string, Float32Array>> {
    const outputs = Object.entries(await executor.run('gradients', inputs));
    const copies = new Map(outputs.map(([name, { data }]) => [name, Float32Array.from(data)]));
    for (const [, tensor] of outputs) tensor.dispose();
    return copies;
  }

  test('recorded, eager and pure JavaScript give the same loss and the same gradients', async () => {
    const recorded = await gradients(await open('graph'));
    expect([...recorded.keys()].sort()).toEqual(['loss', ...names].sort());
    for (const kind of ['eager', 'javascript'] as const) {
      for (const [name, expected] of await gradients(await open(kind))) {
        const size = Math.max(...expected.map(Math.abs));
        const difference = Math.max(...expected.map((value, i) => Math.abs(value - (recorded.get(name)?.[i] ?? NaN))));
        expect(size, name).toBeGreaterThan(0);
        expect(difference / size, `${name}, recorded against ${kind}`).toBeLessThan(1e-5);
      }
    }
  });

  test('the same batch gives the same gradients, bit for bit', async () => {
    const executor = await open('graph');
    const first = await gradients(executor);
    for (let again = 0; again < 5; again++) expect(await gradients(executor)).toEqual(first);
  });
});
