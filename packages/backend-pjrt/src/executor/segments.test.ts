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
  },
};

function cut(cuts: Partial<Cuts>) {
  const recording = rewriteForXla(record(program, 'call'), { precision: 'fp32', recompute: 'none' });
  return cutPhase(recording, { late: new Set(), atOutputs: false, ...cuts }, phaseLayout(program, 'call', SINGLE))
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
