import { expect, it } from 'vitest';
import { ADAM_UPDATE } from '../adam-update.js';
import type { Recording, ValueInfo } from '../recording.js';
import { fuseAdam } from './fuse-adam.js';

/** An update of p, m and v (values 0 to 2) by the gradient 3, with scalars behind it and results 20 to 22. */
function update(elements: number, scalars: number): Recording {
  const info = (shape: readonly number[]): ValueInfo => ({ shape, dtype: 'float32' });
  const inputs = Array.from({ length: 4 + scalars }, (_, id) => id);
  const outputs = [20, 21, 22];
  const large = [...inputs.slice(0, 4), ...outputs];
  return {
    program: 'p',
    phase: 'only',
    ops: [{ type: ADAM_UPDATE, attrs: {}, inputs, outputs }],
    values: new Map([...inputs, ...outputs].map((id) => [id, info(large.includes(id) ? [elements] : [])])),
    inputs: {},
    outputs: {},
    assignments: { p: 20, m: 21, v: 22 },
  };
}

const bodyOf = (recording: Recording) => fuseAdam(recording).ops[0]?.body;

it('an update of a large parameter is a loop over what it reads, with a result for every variable', () => {
  const recording = update(2 ** 16, 7);
  const body = bodyOf(recording);
  expect(body?.inputs).toEqual(recording.ops[0]?.inputs);
  const { values } = fuseAdam(recording);
  expect(body?.outputs.map((value) => values.get(value)?.shape)).toEqual([[2 ** 16], [2 ** 16], [2 ** 16]]);
});

it('clipping is inside, and weight decay where there is any', () => {
  const reading = (recording: Recording, value: number) =>
    bodyOf(recording)
      ?.ops.filter(({ inputs }) => inputs.includes(value))
      .map(({ type }) => type);
  const [gradient, parameter, kept] = [3, 0, 11];
  expect(reading(update(2 ** 16, 7), gradient)).toEqual(['Mul']);
  expect(reading(update(2 ** 16, 7), parameter)).toEqual(['Sub']);
  expect(reading(update(2 ** 16, 8), parameter)).toEqual(['Mul']);
  expect(reading(update(2 ** 16, 8), kept)).toEqual(['Mul']);
});

it('a small one is left to the kernel', () => {
  expect(bodyOf(update(2 ** 16 - 1, 7))).toBeUndefined();
});
