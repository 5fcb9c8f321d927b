import { createExecutor } from '@weft/backend-tensorflow';
import { Random } from '@weft/common';
import { resolveRunConfig } from '@weft/config';
import { expertForward, expertWeights } from '@weft/model';
import { type Executor, elementCount, type HostTensor, type Program, tf } from '@weft/tensor';
import { afterAll, expect, test } from 'vitest';
import { initialiseState } from '../state.js';
import { expertProgram, gradientOf } from './expert-program.js';

const config = resolveRunConfig({
  steps: 4,
  globalBatchSize: 2,
  microbatchSize: 1,
  model: {
    sequenceLength: 16,
    vision: { imageSize: 8, patchSize: 4, width: 8, depth: 1, heads: 2, feedForwardWidth: 8 },
    connector: { tokensPerImage: 4 },
    decoder: { width: 6, depth: 2, heads: 1, feedForwardWidth: 10, moe: { experts: 4, everyLayers: 2 } },
  },
  data: { directory: 'none' },
  optimizer: { learningRate: 1e-2, warmupSteps: 0 },
  evaluation: { sequencesPerSource: 1 },
});
const experts = { first: 1, end: 4 };
const program = expertProgram(config, experts);
const executors: Executor[] = [];
const open = (of: Program, kind: 'graph' | 'eager' | 'javascript') => {
  const executor = createExecutor(of, { kind, precision: 'fp32', threads: 1 });
  executors.push(executor);
  return executor;
};
afterAll(async () => {
  for (const executor of executors) await executor.dispose();
});

const random = (seed: number) => {
  const source = Random.of('rows', seed);
  return Float32Array.from({ length: elementCount(program.rows.shape) }, () => source.normal());
};
const valuesOf = (tensors: Record<string, HostTensor>, name: string) => [...(tensors[name]?.data ?? [])];
const closeTo = (values: readonly number[]) => values.map((value) => expect.closeTo(value, 4));

/** The same experts, and their gradients as tfjs's tape has them. */
const reference: Program = {
  name: 'reference',
  state: program.state,
  phases: {
    both: {
      inputs: { rows: program.rows, outputGradients: program.rows },
      run: ({ input, read }) => {
        const names = ['gate', 'up', 'down'].map((matrix) => `decoder/layers/1/experts/${matrix}`);
        const run = (...[rows, ...weights]: tf.Tensor[]) => {
          const parameter = (name: string) => weights[names.indexOf(name)] as tf.Tensor;
          return expertForward(expertWeights(parameter, 1), rows as tf.Tensor);
        };
        const inputs = [input('rows'), ...names.map((name) => read(name))];
        const [dRows, gate, up, down] = tf.grads(run)(inputs, input('outputGradients')) as tf.Tensor[];
        return { outputs: run(...inputs), rowGradients: dRows!, gate: gate!, up: up!, down: down! };
      },
    },
  },
};

test.each(['graph', 'javascript'] as const)('the phases of a layer are what the tape says (%s)', async (kind) => {
  const executor = open(program, kind);
  await initialiseState(executor, program, 3);
  const direct = open(reference, kind);
  await direct.writeState(await executor.readState());
  await executor.run('clear', {});
  let sums: Record<string, readonly number[]> = {};
  for (const seed of [1, 2]) {
    const [rows, outputGradients] = [random(seed), random(seed + 10)];
    const { outputs, gate, up } = await executor.run('forward/1', { rows });
    const back = await executor.run('backward/1', { outputGradients, gate: gate!, up: up! });
    const { rowGradients, ...inner } = back;
    await executor.run('accumulate/1', { rows, outputGradients, ...inner });
    const expected = await direct.run('both', { rows, outputGradients });
    expect([...outputs!.data]).toEqual(closeTo(valuesOf(expected, 'outputs')));
    const evaluated = await executor.run('evaluate/1', { rows });
    expect([...evaluated.outputs!.data]).toEqual(closeTo(valuesOf(expected, 'outputs')));
    expect([...rowGradients!.data]).toEqual(closeTo(valuesOf(expected, 'rowGradients')));
    const add = (matrix: string) => valuesOf(expected, matrix).map((value, i) => value + (sums[matrix]?.[i] ?? 0));
    sums = { gate: add('gate'), up: add('up'), down: add('down') };
  }
  const state = await executor.readState();
  for (const matrix of ['gate', 'up', 'down'])
    expect(valuesOf(state, gradientOf(`decoder/layers/1/experts/${matrix}`))).toEqual(closeTo(sums[matrix] ?? []));
  const { squaredNorm } = await executor.run('squaredNorm', {});
  const squares = Object.values(sums).flat();
  expect(squaredNorm!.data[0]).toBeCloseTo(
    squares.reduce((sum, value) => sum + value * value, 0),
    3,
  );
  const before = valuesOf(state, 'decoder/layers/1/experts/gate');
  const norms = { gradNorm: Float32Array.of(2), lossTokens: Float32Array.of(5), step: Float32Array.of(1) };
  await executor.run('apply', norms);
  await executor.run('clear', {});
  const after = await executor.readState();
  // The first step of Adam moves every weight by the learning rate, against its gradient.
  const moved = valuesOf(after, 'decoder/layers/1/experts/gate').map((value, i) => value - before[i]!);
  for (const [i, move] of moved.entries()) {
    if (Math.abs(sums.gate![i]!) < 1e-3) continue;
    expect(Math.sign(move)).toBe(-Math.sign(sums.gate![i]!));
    expect(Math.abs(move)).toBeGreaterThan(0.008);
  }
  expect(valuesOf(after, gradientOf('decoder/layers/1/experts/up')).every((value) => value === 0)).toBe(true);
});
