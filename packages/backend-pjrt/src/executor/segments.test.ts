import { type Program, tf } from '@weft/tensor';
import { expect, test } from 'vitest';
import { rewriteForXla } from '../lowering/module.js';
import { phaseLayout } from '../lowering/sharding.js';
import { SINGLE } from '../mesh/mesh.js';
import { record } from '../testing/run-lowered.js';
import { type Cuts, cutPhase } from './segments.js';

const square = { shape: [4, 4], dtype: 'float32' } as const;

/** Two products in a row, the answer to the first one from outside, and a counter. */
const program: Program = {
  name: 'cut',
  state: { weight: square, count: { shape: [], dtype: 'float32' } },
  phases: {
    call: {
      inputs: { x: square, answer: square, factor: square },
      run: ({ input, read, assign }) => {
        const sent = tf.matMul(input('x'), read('weight'));
        const y = tf.matMul(tf.mul(input('answer'), input('factor')), read('weight'));
        assign('count', tf.add(read('count'), 1));
        return { sent, y, weight: read('weight'), x: input('x') };
      },
    },
    sum: {
      inputs: { x: square, first: square, second: square },
      replaces: ['first', 'second'],
      run: ({ input, read }) => {
        const first = tf.add(tf.matMul(input('x'), read('weight')), input('first'));
        return { first, second: tf.add(tf.matMul(first, read('weight')), input('second')) };
      },
    },
  },
};

function cut(cuts: Partial<Cuts>, phase = 'call') {
  const recording = rewriteForXla(record(program, phase), { precision: 'fp32', recompute: 'none' });
  return cutPhase(recording, { late: new Set(), atOutputs: false, ...cuts }, phaseLayout(program, phase, SINGLE))
    .segments;
}

test('a phase whose inputs are all there is one part, which donates what it assigns', () => {
  const [whole, ...more] = cut({});
  expect(more).toEqual([]);
  expect(whole?.awaits.toSorted()).toEqual(['answer', 'factor', 'x']);
  expect(whole?.assigned).toEqual(['count']);
  const [head = ''] = /@main\(.*\{$/m.exec(whole?.text ?? '') ?? [];
  expect(head.match(/tf.aliasing_output/g)).toHaveLength(1);
  expect(head).toMatch(/tensor<f32> \{tf.aliasing_output = 3 : i32\}/);
});

test('an output that replaces an input takes its memory, in the part that computes it', () => {
  const heads = (cuts: Partial<Cuts>) =>
    cut(cuts, 'sum').map(({ text }) => /@main\(.*\{$/m.exec(text)?.[0].match(/tf.aliasing_output = \d/g) ?? []);
  expect(heads({})).toEqual([['tf.aliasing_output = 0', 'tf.aliasing_output = 1']]);
  expect(heads({ atOutputs: true })).toEqual([['tf.aliasing_output = 0'], ['tf.aliasing_output = 0']]);
});

test('late inputs that answer the same output come together, after it', () => {
  const [before, after, ...more] = cut({ late: new Set(['answer', 'factor']) });
  expect(more).toEqual([]);
  expect(before?.awaits).toEqual(['x']);
  expect(before?.results).toHaveLength(1);
  expect(before?.assigned).toEqual([]);
  expect(after?.awaits.toSorted()).toEqual(['answer', 'factor']);
  expect(after?.text).not.toContain('%arg5');
});

test('an output that is done early ends a part, if enough was computed for it', () => {
  const parts = cut({ atOutputs: true });
  expect(parts).toHaveLength(2);
  expect(parts[0]?.text).toContain('module @"cut/call/0"');
  expect(parts[0]?.text.match(/dot_general/g)).toHaveLength(1);
});

test('on a mesh, what crosses from one part to the next lies as the values that it is made of', () => {
  const [B, T, H, D] = [4, 3, 2, 8];
  const layer: Program = {
    name: 'layer',
    state: { w: { shape: [D, D], dtype: 'float32', axes: ['embed', 'heads'] } },
    phases: {
      forward: {
        inputs: { x: { shape: [B, T, D], dtype: 'float32', axes: ['batch', null, null] } },
        run: ({ input, read }) => {
          const q = tf.matMul(tf.reshape(input('x'), [B * T, D]), read('w') as tf.Tensor2D);
          const heads = tf.transpose(tf.reshape(q, [B, T, H, D / H]), [0, 2, 1, 3]);
          const early = tf.matMul(heads, heads, false, true);
          return { early, late: tf.matMul(tf.exp(heads), heads, false, true) };
        },
      },
    },
  };
  const mesh = { fsdp: 2, tensor: 2, expert: 1 };
  const recording = rewriteForXla(record(layer, 'forward'), { precision: 'fp32', recompute: 'none', mesh });
  const layout = phaseLayout(layer, 'forward', mesh);
  const { segments } = cutPhase(recording, { late: new Set(), atOutputs: true }, layout);
  expect(segments).toHaveLength(2);
  const [first, second] = segments;
  const heads = [{ over: ['fsdp'], priority: 0 }, { over: ['tensor'], priority: 1 }, { over: [] }, { over: [] }];
  const crossing = first!.results.findIndex((id) => second!.arguments.includes(id));
  expect(first!.resultShardings[crossing]).toMatchObject(heads);
  expect(second!.text).toContain('sdy.sharding<@mesh, [{"fsdp"}p0, {"tensor"}p1, {}, {}]>');
});
