import { axesOfArray, DEFAULT_ADAFACTOR, optimizerArrays } from '@weft/config';
import { type PhaseContext, tf } from '@weft/tensor';
import { beforeAll, describe, expect, test } from 'vitest';
import { adafactorApply } from './adafactor.js';
import type { OptimizedParameter } from './adamw.js';

beforeAll(() => tf.setBackend('cpu'));

/** Element i is sin(1.7·i + 0.9·seed)·cos(0.31·seed·i + 0.2), as in the script that asked the reference. */
const numbers = (count: number, seed: number) =>
  Array.from({ length: count }, (_, i) => Math.sin(i * 1.7 + seed * 0.9) * Math.cos(i * 0.31 * seed + 0.2));
/** The gradients of the first two steps are small, so that later updates are clipped. */
const gradientOf = (count: number, index: number, t: number) =>
  numbers(count, 10 * index + t + 3).map((each) => each * (t < 3 ? 0.01 : 1));

const SHAPES = [[5], [3, 4], [2, 3, 4], [3, 3, 4, 1]] as const;

/** Five steps of one parameter; what it and its arrays are then. */
function train(index: number, options: { readonly scaleByParameter?: boolean; readonly isStack?: boolean }) {
  const shape = SHAPES[index] ?? [];
  const count = shape.reduce<number>((product, size) => product * size, 1);
  const parameter: OptimizedParameter = { name: 'p', shape, weightDecay: true, isStack: options.isStack };
  const state = new Map<string, tf.Tensor>([['p', tf.tensor(numbers(count, 1 + index), [...shape])]]);
  for (const array of optimizerArrays('adafactor', shape.length))
    state.set(`${array.prefix}/p`, tf.zeros([...axesOfArray(array, shape)]));
  const context: PhaseContext = {
    input: (name) => expect.fail(`the optimizer has no input ${name}`),
    read: (name) => state.get(name) ?? expect.fail(`there is no variable ${name}`),
    assign: (name, value) => {
      expect(value.shape).toEqual(state.get(name)?.shape);
      state.set(name, value);
    },
  };
  const adafactor = { ...DEFAULT_ADAFACTOR, scaleByParameter: options.scaleByParameter ?? false };
  for (let t = 1; t <= 5; t++) {
    const gradient = tf.tensor(gradientOf(count, index, t), [...shape]);
    adafactorApply(context, { learningRate: 0.1, weightDecay: 0, adafactor }, [parameter], {
      gradient: () => tf.mul(gradient, 2),
      gradientScale: tf.scalar(0.5),
      step: tf.scalar(t),
      factor: tf.scalar(0.5),
    });
  }
  return new Map([...state].map(([name, tensor]) => [name, [...tensor.dataSync()]]));
}

function expectClose(found: readonly number[] | undefined, expected: readonly number[]): void {
  expect(found).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) expect(Math.abs((found?.[i] ?? Number.NaN) - value)).toBeLessThan(1e-5);
}

/** transformers 5.24: Adafactor(lr=0.05, relative_step=False, warmup_init=False, scale_parameter=…), beta1 None. */
const REFERENCE: Readonly<Record<'plain' | 'scaled', readonly (readonly number[])[]>> = {
  plain: [
    [0.869623, 0.645281, -0.418915, 0.043865, 0.428806],
    [
      0.821426, -0.105065, -0.310351, -0.058657, -0.840104, 0.882795, 0.376669, -0.111944, 0.229787, -0.884663,
      -0.014707, 0.72855,
    ],
    [
      0.532478, -0.305282, 0.235612, -0.795303, 0.192973, -0.017924, 0.271516, 0.842461, -0.206144, 0.484578, -0.767527,
      -0.338417, -0.31929, -0.265179, 0.808395, -0.033788, 0.925105, -0.335032, -0.097551, -0.401505, -0.719882,
      0.326437, -0.278258, 0.617398,
    ],
    [
      -0.519236, 0.00769, -0.660428, -0.332407, -0.510164, -0.32199, 0.100813, -0.127662, 0.846973, 0.028043, 0.973083,
      -0.111743, 0.697826, -0.494571, 0.322978, -0.638518, -0.059057, -0.598308, -0.324569, -0.398479, -0.181111,
      0.336419, 0.104585, 0.945331, 0.126916, 0.818531, -0.406459, 0.373962, -0.716485, 0.061168, -0.991873, -0.123933,
      -0.718215, 0.000235, 0.075031, 0.448271,
    ],
  ],
  scaled: [
    [0.817121, 0.549058, -0.521097, -0.037132, 0.280897],
    [
      0.881827, -0.166621, -0.221641, -0.156153, -0.75695, 0.825935, 0.378884, -0.131569, 0.18444, -0.874143, -0.030844,
      0.732795,
    ],
    [
      0.477033, -0.354692, 0.161992, -0.889581, 0.124289, -0.075309, 0.279132, 0.828283, -0.162762, 0.488379, -0.75849,
      -0.318868, -0.319553, -0.288868, 0.792717, -0.017287, 0.867479, -0.256131, -0.204793, -0.321147, -0.778584,
      0.368475, -0.220253, 0.68472,
    ],
    [
      -0.475905, -0.052292, -0.623897, -0.404413, -0.432342, -0.385852, 0.151863, -0.152775, 0.804843, 0.023361,
      0.978367, -0.09961, 0.716208, -0.466015, 0.267076, -0.687432, -0.138184, -0.634809, -0.313611, -0.292527,
      -0.139099, 0.393078, 0.107464, 0.903738, 0.085266, 0.826086, -0.36488, 0.40868, -0.734179, 0.03817, -0.938242,
      -0.134236, -0.641208, 0.005345, 0.063195, 0.344524,
    ],
  ],
};
const EXPERTS = [
  0.538305, -0.296917, 0.238043, -0.785702, 0.193339, -0.018549, 0.266894, 0.832332, -0.209769, 0.475349, -0.766556,
  -0.342428, -0.31709, -0.270912, 0.81603, -0.040608, 0.924063, -0.33323, -0.106345, -0.403689, -0.725926, 0.315982,
  -0.272366, 0.616492,
];
const ROW = [0.237845, 0.139196, 0.184528, 0.13318, 0.191889, 0.130875];
const COLUMN = [0.205931, 0.269624, 0.0975975, 0.175605, 0.175779, 0.17463, 0.189509, 0.0680055];

describe('AdaFactor', () => {
  test.each(SHAPES.map((shape, index) => [shape, index] as const))(
    "of an array %j is the reference's to 1e-5 after five steps, with and without the scale of the parameter",
    (_, index) => {
      expectClose(train(index, {}).get('p'), REFERENCE.plain[index] ?? []);
      expectClose(train(index, { scaleByParameter: true }).get('p'), REFERENCE.scaled[index] ?? []);
    },
  );

  test('keeps the means of rows and columns, and of a stack of experts clips each by itself', () => {
    const stack = train(2, { isStack: true });
    expectClose(stack.get('p'), EXPERTS);
    expectClose(stack.get('adafactor/row/p'), ROW);
    expectClose(stack.get('adafactor/column/p'), COLUMN);
    expect(train(2, {}).get('p')).not.toEqual(stack.get('p'));
  });

  test('keeps as many numbers as a matrix has rows and columns, of a vector all', () => {
    const kept = (shape: readonly number[]) =>
      optimizerArrays('adafactor', shape.length).map((array) => [array.prefix, axesOfArray(array, shape)]);
    expect(kept([300, 20])).toEqual([
      ['adafactor/row', [300]],
      ['adafactor/column', [20]],
    ]);
    expect(kept([8, 300, 20])).toEqual([
      ['adafactor/row', [8, 300]],
      ['adafactor/column', [8, 20]],
    ]);
    expect(kept([300])).toEqual([['adafactor/v', [300]]]);
  });

  test('decays by the schedule times λ, as AdamW does, and not what has no weight decay', () => {
    const assigned = new Map<string, tf.Tensor>();
    const context: PhaseContext = {
      input: (name) => expect.fail(name),
      read: () => tf.tensor1d([2, 4]),
      assign: (name, value) => assigned.set(name, value),
    };
    const named = (name: string, weightDecay: boolean, maximum?: number) => ({
      name,
      shape: [2],
      weightDecay,
      maximum,
    });
    adafactorApply(
      context,
      { learningRate: 0.1, weightDecay: 0.01, adafactor: DEFAULT_ADAFACTOR },
      [named('matrix', true), named('norm', false), named('scale', false, 3)],
      { gradient: () => tf.zeros([2]), gradientScale: tf.scalar(1), step: tf.scalar(9), factor: tf.scalar(0.5) },
    );
    expectClose([...(assigned.get('matrix')?.dataSync() ?? [])], [2 * 0.995, 4 * 0.995]);
    expectClose([...(assigned.get('norm')?.dataSync() ?? [])], [2, 4]);
    // What has a limit stays below it.
    expectClose([...(assigned.get('scale')?.dataSync() ?? [])], [2, 3]);
  });
});
