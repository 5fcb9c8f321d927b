import { type Executor, type HostTensor, type Program, tf } from '@weft/tensor';
import { afterAll, expect, test } from 'vitest';
import { createExecutor } from './index.js';

const side = 64;
const square = { shape: [side, side], dtype: 'float32' } as const;
const executors: Executor[] = [];

/** x → sent = 2x leaves; what comes back as `answer` is added to a resident counter and multiplied by x. */
const program: Program = {
  name: 'remote call',
  state: { runs: { shape: [], dtype: 'float32' } },
  phases: {
    call: {
      inputs: { x: square, answer: square },
      run: ({ input, read, assign }) => {
        assign('runs', tf.add(read('runs'), 1));
        const x = input('x');
        return { sent: tf.mul(x, 2), same: tf.mul(x, 2), echo: x, y: tf.mul(input('answer'), x) };
      },
    },
  },
};

const GRAPH = { kind: 'graph', precision: 'fp32', threads: 1 } as const;
const open = (kind: 'graph' | 'eager' | 'javascript') => {
  const executor = createExecutor(program, { kind, precision: 'fp32', threads: 1 });
  executors.push(executor);
  return executor;
};
const filled = (value: number) => new Float32Array(side * side).fill(value);
const first = (tensors: Record<string, HostTensor>, name: string) => tensors[name]?.data[0];

afterAll(async () => {
  for (const executor of executors) await executor.dispose();
});

test('an output leaves before a late input comes, and several runs are under way at a time', async () => {
  const executor = open('graph');
  await executor.writeState({ runs: Float32Array.of(0) });
  const runs = await Promise.all([3, 5].map((x) => executor.begin('call', { x: filled(x) })));
  const sent = await Promise.all(runs.map((run) => run.advance({}, ['sent'])));
  expect(sent.map((tensors) => first(tensors, 'sent'))).toEqual([6, 10]);
  const rest = await Promise.all(
    runs.map((run, index) => run.advance({ answer: sent[1 - index]?.sent as HostTensor }, ['y', 'same', 'echo'])),
  );
  expect(rest.map((tensors) => ['y', 'same', 'echo'].map((name) => first(tensors, name)))).toEqual([
    [30, 6, 3],
    [30, 10, 5],
  ]);
  expect((await executor.readState()).runs?.data[0]).toBe(2);
});

test('a loop over large tensors gives out what a late input is the answer to', async () => {
  const large = { shape: [512, 512], dtype: 'float32' } as const;
  const ask: Program['phases'][string] = {
    inputs: { x: large, answer: large },
    run: ({ input }) => {
      const before = tf.neg(tf.mul(input('x'), 2));
      const sent = tf.matMul(before, tf.eye(512));
      return { sent, y: tf.neg(tf.add(before, input('answer'))) };
    },
  };
  const executor = createExecutor({ name: 'loops', state: {}, phases: { ask } }, GRAPH);
  executors.push(executor);
  const run = await executor.begin('ask', { x: new Float32Array(512 * 512).fill(3) });
  const { sent } = await run.advance({}, ['sent']);
  expect(sent?.data[0]).toBe(-6);
  expect(first(await run.advance({ answer: sent as HostTensor }, ['y']), 'y')).toBe(12);
});

test('names that are unknown or used before are refused, and the run goes on', async () => {
  const executor = open('graph');
  await executor.writeState({ runs: Float32Array.of(0) });
  const run = await executor.begin('call', { x: filled(1) });
  await expect(run.advance({ x: filled(1) }, [])).rejects.toThrow('input x is unknown or was used before');
  await expect(run.advance({}, ['z'])).rejects.toThrow('output z is unknown or was used before');
  await expect(run.advance({ answer: new Float32Array(3) }, [])).rejects.toThrow('got float32 with 3 elements');
  expect(first(await run.advance({ answer: filled(7) }, ['y']), 'y')).toBe(7);
  await run.abandon();
});

test('an output that still lacks an input is an error, not a wait', async () => {
  const executor = open('graph');
  await executor.writeState({ runs: Float32Array.of(0) });
  const run = await executor.begin('call', { x: filled(1) });
  await expect(run.advance({}, ['y'])).rejects.toThrow('remote call, phase call');
});

test('a run that is abandoned half-way leaves the executor as good as before', async () => {
  const executor = open('graph');
  await executor.writeState({ runs: Float32Array.of(0) });
  const run = await executor.begin('call', { x: filled(1) });
  await run.advance({}, ['sent']);
  await run.abandon();
  await run.abandon();
  const whole = await executor.run('call', { x: filled(2), answer: filled(4) });
  expect(first(whole, 'y')).toBe(8);
});

test.each(['eager', 'javascript'] as const)('the %s engine takes all inputs at once or says why not', async (kind) => {
  const executor = open(kind);
  await executor.writeState({ runs: Float32Array.of(0) });
  await expect(executor.begin('call', { x: filled(1) })).rejects.toThrow('waits for answer');
  const run = await executor.begin('call', { x: filled(1), answer: filled(2) });
  expect(first(await run.advance({}, ['sent']), 'sent')).toBe(2);
  expect(first(await run.advance({}, ['y']), 'y')).toBe(2);
  await run.abandon();
});
