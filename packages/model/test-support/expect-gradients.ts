import { itemAt, required, tf } from '@weft/tensor';
import { expect } from 'vitest';
import type { ParameterSpec, Parameters } from '../src/parameters.js';
import { lookup, numbers, randomParameters, randomTensor } from './tensors.js';

type Inputs = Readonly<Record<string, tf.Tensor>>;

/** Steps of the differences: a large one suffers from curvature, a small one from float32's few digits. */
const STEPS = [0.02, 0.004, 0.001];
const TOLERANCE = 2e-3;
/** Gradients smaller than this are compared as if they were this large; some are 0 by symmetry. */
const SMALLEST_SIZE = 0.2;

/**
 * Compares tfjs's gradients of a function with finite differences (five-point stencil), input by input, along random
 * directions. The function's output is weighed with random numbers, so that no two elements can cancel.
 */
export function expectGradients(body: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: Inputs): void {
  const problem = differentiated(body, inputs);
  for (const name of Object.keys(inputs)) {
    for (const trial of [1, 2]) expectDirection(problem, [name], `${name}, direction ${trial}`);
  }
}

/** The same with all inputs moving at once: much quicker where there are many. */
export function expectJointGradient(body: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: Inputs): void {
  const problem = differentiated(body, inputs);
  for (const trial of [1, 2]) expectDirection(problem, Object.keys(inputs), `everything, direction ${trial}`);
}

/** The gradients of a block: by its input and by every parameter it declares. */
export function expectBlockGradients(
  block: (x: tf.Tensor, parameters: Parameters) => tf.Tensor,
  x: tf.Tensor,
  specs: readonly ParameterSpec[],
): void {
  const names = specs.map((spec) => spec.name);
  expectGradients(
    (...given) => block(itemAt(given, 0), lookup(new Map(names.map((name, i) => [name, itemAt(given, i + 1)])))),
    { 'the input': x, ...Object.fromEntries(randomParameters(specs)) },
  );
}

interface Differentiated {
  readonly inputs: Inputs;
  readonly gradients: Readonly<Record<string, number[]>>;
  /** The weighed sum of the output, added up in double precision. */
  readonly objective: (inputs: Inputs) => number;
}

function differentiated(body: (...inputs: tf.Tensor[]) => tf.Tensor, inputs: Inputs): Differentiated {
  const values = Object.values(inputs);
  const weights = randomTensor('weights of the output', body(...values).shape);
  const weightNumbers = numbers(weights);
  const gradients = tf.grads((...xs) => tf.sum(tf.mul(body(...xs), weights)))(values);
  return {
    inputs,
    gradients: Object.fromEntries(Object.keys(inputs).map((name, i) => [name, numbers(itemAt(gradients, i))])),
    objective: (at) =>
      tf.tidy(() => numbers(body(...Object.values(at))).reduce((sum, y, i) => sum + y * (weightNumbers[i] ?? 0), 0)),
  };
}

function expectDirection({ inputs, gradients, objective }: Differentiated, moving: string[], label: string): void {
  const directions = new Map(
    moving.map((name) => [name, randomTensor(`${label}: ${name}`, inputs[name]?.shape ?? [])]),
  );
  const at = (distance: number): Inputs =>
    Object.fromEntries(
      Object.entries(inputs).map(([name, value]) => {
        const direction = directions.get(name);
        return [name, direction === undefined ? value : tf.add(value, tf.mul(direction, distance))];
      }),
    );
  const along = (distance: number) => tf.tidy(() => objective(at(distance)));
  const numeric = (h: number) => (along(-2 * h) - 8 * along(-h) + 8 * along(h) - along(2 * h)) / (12 * h);

  const gradient = moving.flatMap((name) => gradients[name] ?? []);
  const direction = moving.flatMap((name) => numbers(required(directions, name)));
  const exact = direction.reduce((sum, d, i) => sum + d * (gradient[i] ?? Number.NaN), 0);
  const size = Math.max(Math.hypot(...gradient), SMALLEST_SIZE);

  let error = Number.POSITIVE_INFINITY;
  for (const step of STEPS) {
    error = Math.min(error, Math.abs(numeric(step) - exact) / size);
    if (error < TOLERANCE) return;
  }
  expect(error, `the gradient by ${label}`).toBeLessThan(TOLERANCE);
}
