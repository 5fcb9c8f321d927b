import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { DEFAULT_VISION, type VisionConfig } from '@weft/config';
import { tf } from '@weft/tensor';
import { describe, expect, it } from 'vitest';
import type { ParameterSpec } from './parameters.js';
import { predictedPatches, reconstructionLoss, reconstructionParameters } from './reconstruction.js';

/** What `reconstruction.py` prints. */
interface Reference {
  readonly vision: Omit<VisionConfig, keyof typeof DEFAULT_VISION>;
  readonly head: { readonly headWidth: number; readonly headDepth: number };
  readonly prefixes: readonly number[];
  readonly images: readonly number[];
  readonly weights: Readonly<Record<string, readonly number[]>>;
  readonly lossSum: number;
  readonly predicted: number;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

const fixture = (name: string) => fileURLToPath(new URL(`../test-fixtures/${name}`, import.meta.url));
const stored = readFileSync(fixture('reconstruction.json'), 'utf8');
const reference: Reference = JSON.parse(stored);

const vision: VisionConfig = { ...DEFAULT_VISION, activation: 'gelu', ...reference.vision };
const task = { kind: 'reconstructive', ...reference.head } as const;
const specs = reconstructionParameters(vision, task);

function batchOf(prefixes: readonly number[]) {
  const { imageSize } = vision;
  return {
    images_NSSC: tf.tensor4d([...reference.images], [prefixes.length, imageSize, imageSize, 3]),
    prefixLength_N: tf.tensor1d([...prefixes], 'int32'),
  };
}

function lossAndGradients(prefixes: readonly number[]) {
  const batch = batchOf(prefixes);
  const weights = specs.map(({ name, shape }) => tf.tensor([...(reference.weights[name] ?? [])], [...shape]));
  const loss = (...values: tf.Tensor[]) => {
    const byName = new Map(specs.map((spec: ParameterSpec, i) => [spec.name, values[i]!]));
    return reconstructionLoss({ vision, task }, (name) => byName.get(name)!, batch);
  };
  const { value, grads } = tf.valueAndGrads(loss)(weights);
  return { value: value.dataSync()[0]!, gradients: grads.map((gradient) => [...gradient.dataSync()]) };
}

describe('the reconstructive loss', () => {
  it('is that of PyTorch, and so is every gradient, to 1e-5', () => {
    expect(Object.keys(reference.weights).toSorted()).toEqual(specs.map(({ name }) => name).toSorted());
    const { value, gradients } = lossAndGradients(reference.prefixes);
    expect(Math.abs(value / reference.lossSum - 1)).toBeLessThan(1e-5);
    expect(predictedPatches(batchOf(reference.prefixes).prefixLength_N, vision).dataSync()[0]).toBe(
      reference.predicted,
    );
    for (const [i, { name }] of specs.entries()) {
      const expected = reference.gradients[name]!;
      const apart = Math.hypot(...expected.map((x, j) => x - (gradients[i]?.[j] ?? Number.NaN)));
      expect.soft(apart / Math.hypot(...expected), name).toBeLessThan(1e-5);
    }
  });

  it('is 0, and has no gradient, where all of every image is its prefix', () => {
    const { value, gradients } = lossAndGradients(reference.prefixes.map(() => 16));
    expect(value).toBe(0);
    expect(gradients.flat().every((x) => x === 0)).toBe(true);
  });
});
