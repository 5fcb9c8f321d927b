import { Random } from '@weft/common';
import { type PhaseContext, tf } from '@weft/tensor';
import { beforeAll, describe, expect, test } from 'vitest';
import { adamwApply, adamwState, clipScale, globalNorm, type OptimizedParameter } from './adamw.js';

beforeAll(() => tf.setBackend('cpu'));

const config = { learningRate: 0.05, weightDecay: 0.005, beta1: 0.9, beta2: 0.95, epsilon: 1e-8 };
const parameters: OptimizedParameter[] = [
  { name: 'decoder/head', shape: [2, 3], weightDecay: true },
  { name: 'decoder/norm', shape: [3], weightDecay: false },
];

/** Resident state as a map: reads see the values from before the phase. */
function stateContext(state: Map<string, tf.Tensor>): { context: PhaseContext; commit: () => void } {
  const assigned = new Map<string, tf.Tensor>();
  const context: PhaseContext = {
    input: (name) => expect.fail(`the optimizer has no input ${name}`),
    read: (name) => state.get(name) ?? expect.fail(`there is no variable ${name}`),
    assign: (name, value) => {
      if (assigned.has(name)) expect.fail(`${name} was assigned twice`);
      assigned.set(name, value);
    },
  };
  return {
    context,
    commit: () => {
      for (const [name, value] of assigned) state.set(name, value);
    },
  };
}

/** The definition of MM1.md and AXLearn's adamw_decoupled_optimizer, one number at a time, in double precision. */
class ScalarAdamw {
  m = 0;
  v = 0;
  constructor(
    public p: number,
    readonly lambda: number,
  ) {}

  step(g: number, t: number, s: number): void {
    const { learningRate, beta1, beta2, epsilon } = config;
    this.m = beta1 * this.m + (1 - beta1) * g;
    this.v = beta2 * this.v + (1 - beta2) * g ** 2;
    const adam = this.m / (1 - beta1 ** t) / (Math.sqrt(this.v / (1 - beta2 ** t)) + epsilon);
    this.p -= s * (learningRate * adam + this.lambda * this.p);
  }
}

function initialState(): Map<string, tf.Tensor> {
  const random = Random.of('adamw test');
  const state = new Map<string, tf.Tensor>();
  for (const { name, shape } of parameters) {
    const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
    state.set(name, tf.tensor(values, [...shape]));
  }
  for (const [name, { shape }] of Object.entries(adamwState(parameters))) state.set(name, tf.zeros([...shape]));
  return state;
}

const valuesOf = (state: Map<string, tf.Tensor>, name: string) => Array.from(state.get(name)?.dataSync() ?? []);

describe('AdamW', () => {
  test('keeps two moments per parameter', () => {
    expect(adamwState(parameters)).toEqual({
      'adam/m/decoder/head': { shape: [2, 3], dtype: 'float32' },
      'adam/v/decoder/head': { shape: [2, 3], dtype: 'float32' },
      'adam/m/decoder/norm': { shape: [3], dtype: 'float32' },
      'adam/v/decoder/norm': { shape: [3], dtype: 'float32' },
    });
  });

  test('follows the definition, number by number, over many steps', () => {
    const state = initialState();
    const references = new Map(
      parameters.map(({ name, weightDecay }) => [
        name,
        valuesOf(state, name).map((p) => new ScalarAdamw(p, weightDecay ? config.weightDecay : 0)),
      ]),
    );
    const random = Random.of('gradients');
    for (let t = 1; t <= 30; t++) {
      const factor = t < 10 ? t / 10 : 1 - t / 60;
      const gradients = new Map(
        parameters.map(({ name, shape }) => {
          // Sizes over seven orders of magnitude, and zeros: where epsilon shows.
          const values = (references.get(name) ?? []).map((_, i) => (i === 0 ? 0 : random.normal() * 10 ** (i - 6)));
          for (const [i, scalar] of references.get(name)?.entries() ?? []) {
            scalar.step((values[i] ?? Number.NaN) * 0.5, t, factor);
          }
          return [name, tf.tensor(values, [...shape])];
        }),
      );
      const { context, commit } = stateContext(state);
      const gradient = (name: string) => gradients.get(name) ?? expect.fail(name);
      const gradientScale = tf.scalar(0.5);
      adamwApply(context, config, parameters, {
        gradient,
        gradientScale,
        step: tf.scalar(t),
        factor: tf.scalar(factor),
      });
      commit();
      for (const { name } of parameters) {
        const expected = references.get(name) ?? [];
        for (const [i, p] of valuesOf(state, name).entries()) expect(p).toBeCloseTo(expected[i]?.p ?? Number.NaN, 5);
        expect(valuesOf(state, `adam/m/${name}`)[1]).toBeCloseTo(expected[1]?.m ?? Number.NaN, 6);
      }
    }
  });

  const firstStep = { gradientScale: tf.scalar(1), step: tf.scalar(1) };

  test('decays by the schedule times λ, not by the learning rate times λ', () => {
    const state = initialState();
    const before = valuesOf(state, 'decoder/head');
    const untouched = valuesOf(state, 'decoder/norm');
    const { context, commit } = stateContext(state);
    const zero = (name: string) => tf.zerosLike(context.read(name));
    adamwApply(context, config, parameters, { ...firstStep, gradient: zero, factor: tf.scalar(0.5) });
    commit();
    for (const [i, p] of valuesOf(state, 'decoder/head').entries()) {
      expect(p).toBeCloseTo((before[i] ?? Number.NaN) * (1 - 0.5 * config.weightDecay), 6);
    }
    expect(valuesOf(state, 'decoder/norm')).toEqual(untouched);
  });

  test('takes a first step of the learning rate, whatever the size of the gradient', () => {
    const state = initialState();
    const before = valuesOf(state, 'decoder/norm');
    const { context, commit } = stateContext(state);
    const tiny = (name: string) => tf.mul(tf.onesLike(context.read(name)), 1e-4);
    adamwApply(context, config, parameters, { ...firstStep, gradient: tiny, factor: tf.scalar(1) });
    commit();
    for (const [i, p] of valuesOf(state, 'decoder/norm').entries()) {
      expect((before[i] ?? Number.NaN) - p).toBeCloseTo(config.learningRate, 4);
    }
  });
});

const value = (scalar: tf.Tensor) => scalar.dataSync()[0];

describe('clipping by the global norm', () => {
  test('takes all gradients as one vector', () => {
    expect(value(globalNorm([tf.tensor2d([[1, -2]]), tf.scalar(4), tf.tensor1d([2])]))).toBe(5);
    expect(value(globalNorm([tf.tensor1d([3, 4])]))).toBe(5);
  });

  test('leaves small gradients exactly as they are and brings large ones down to the limit', () => {
    expect(value(clipScale(tf.scalar(0), 1))).toBe(1);
    expect(value(clipScale(tf.scalar(0.999), 1))).toBe(1);
    expect(value(clipScale(tf.scalar(1), 1))).toBe(1);
    expect(value(clipScale(tf.scalar(8), 2))).toBe(0.25);
  });

  test('shows a gradient that is not finite', () => {
    expect(value(globalNorm([tf.tensor1d([1, Number.NaN]), tf.scalar(1)]))).toBeNaN();
    expect(value(globalNorm([tf.tensor1d([1, Number.POSITIVE_INFINITY])]))).toBe(Number.POSITIVE_INFINITY);
  });
});
