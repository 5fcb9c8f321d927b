import { type RunConfig, resolveRunConfig } from '@weft/config';
import { taskOf } from '@weft/tasks';
import { type HostTensor, javascriptExecutor, type PhaseInputs } from '@weft/tensor';
import { tinyRun } from '@weft/testing';
import { beforeAll, describe, expect, test } from 'vitest';
import { initialiseState } from './state.js';
import { syntheticBatch, variantsOf, withoutImages, withRoomFor } from './testing/synthetic-batch.js';
import { trainProgram } from './train-program.js';

const config = resolveRunConfig({ ...tinyRun, globalBatchSize: 2, microbatchSize: 2 });
const program = trainProgram(taskOf(config), config, { variants: variantsOf(config, [0, 4]) });
const executor = javascriptExecutor(program);
beforeAll(() => initialiseState(executor, program, config.seed));

const batch = syntheticBatch(config, 1);
const text = withoutImages(batch);

/** The gradients of a run by parameter, and the totals. */
function gradientsIn(outputs: Readonly<Record<string, HostTensor>>): Map<string, readonly number[]> {
  return new Map(
    program.buckets.flatMap(({ name, entries, gradientLength }) => {
      const all = [...(outputs[name]?.data ?? [])];
      const parts = entries.map((entry, i): [string, number[]] => [
        entry.name,
        all.slice(entry.offset, entries[i + 1]?.offset ?? gradientLength),
      ]);
      return [...parts, [`totals of ${name}`, all.slice(gradientLength)] as [string, number[]]];
    }),
  );
}

function expectSame(actual: Map<string, readonly number[]>, expected: Map<string, readonly number[]>): void {
  for (const [name, values] of expected) {
    const apart = Math.hypot(...values.map((x, i) => x - (actual.get(name)?.[i] ?? Number.NaN)));
    expect.soft(apart, name).toBeLessThanOrEqual(1e-6 * Math.hypot(...values));
  }
}

describe('a microbatch with fewer images', () => {
  test('has the phases of its shape, and gives what all slots would have given', async () => {
    const small = withRoomFor(batch, config, 4);
    expect(program.phaseOf('gradients', small)).toBe('gradients/4-images');
    expect(program.phaseOf('evaluate', batch)).toBe('evaluate');
    const run = (pass: 'gradients' | 'accumulate' | 'evaluate', inputs: PhaseInputs) =>
      executor.run(program.phaseOf(pass, inputs as typeof small), inputs);
    const [whole, packed] = [await run('gradients', batch), await run('gradients', small)];
    expectSame(gradientsIn(packed), gradientsIn(whole));
    const twice = await executor.run('accumulate/4-images', { ...small, ...whole });
    expectSame(gradientsIn(twice), gradientsIn(await executor.run('accumulate', { ...batch, ...whole })));
    const [held, heldSmall] = [await run('evaluate', batch), await run('evaluate', small)];
    expect(heldSmall.lossSum?.data[0]).toBeCloseTo(held.lossSum?.data[0] ?? Number.NaN, 4);
  });

  test('without any computes no encoder, whose gradients are zeros, as they are beside images that nobody reads', async () => {
    const none = withRoomFor(text, config, 0);
    expect(none).not.toHaveProperty('images_NHWC');
    expect(program.phaseOf('gradients', none)).toBe('gradients/0-images');
    const [whole, packed] = [await executor.run('gradients', text), await executor.run('gradients/0-images', none)];
    const [expected, actual] = [gradientsIn(whole), gradientsIn(packed)];
    expectSame(actual, expected);
    for (const [name, values] of actual) {
      const isZero = values.every((value) => value === 0);
      expect
        .soft(isZero, name)
        .toBe(name.startsWith('vision/') || name.startsWith('connector/') || values.length === 0);
    }
  });
});

describe('learning rates of their own', () => {
  const factors = { vision: 0, connector: 2, 'decoder/embedding': 0.5 };
  const { learningRate, weightDecay } = config.optimizer;
  const withFactors = (optimizer: object) =>
    resolveRunConfig({ ...config, optimizer: { ...config.optimizer, ...optimizer } });

  /** The parameters after one step, and what the step gave. */
  async function afterOneStep(of: RunConfig) {
    const made = trainProgram(taskOf(of), of);
    const engine = javascriptExecutor(made);
    await initialiseState(engine, made, of.seed);
    const buckets = await engine.run('gradients', batch);
    const gradNorm = Float32Array.of(0.1);
    await engine.run('apply', { ...buckets, gradNorm, step: Float32Array.of(1) });
    const state = await engine.readState();
    const values = new Map(Object.entries(state).map(([name, { data }]) => [name, Float32Array.from(data)]));
    await engine.dispose();
    return { made, values };
  }

  test('freeze parameters: they keep their values, have no moments, and no gradient is reduced', async () => {
    const { made, values } = await afterOneStep(withFactors({ learningRateFactors: factors }));
    const frozen = made.parameters.filter(({ name }) => name.startsWith('vision/'));
    expect(frozen.length).toBeGreaterThan(10);
    for (const parameter of frozen) {
      expect(values.get(parameter.name), parameter.name).toEqual(parameter.initialValue(config.seed));
      expect(values.has(`adam/m/${parameter.name}`), parameter.name).toBe(false);
    }
    const reduced = made.buckets.flatMap(({ entries }) => entries.map(({ name }) => name));
    expect(reduced.toSorted()).toEqual(
      made.parameters.flatMap(({ name }) => (name.startsWith('vision/') ? [] : [name])).toSorted(),
    );
    expect(made.layout.tensors.filter(({ name }) => name.includes('vision/'))).toHaveLength(frozen.length);
  });

  test('multiply rate and decay of what they name, and of nothing else', async () => {
    const own = await afterOneStep(withFactors({ learningRateFactors: factors }));
    const plain = await afterOneStep(config);
    const twice = { learningRate: 2 * learningRate, weightDecay: 2 * weightDecay };
    const double = await afterOneStep(withFactors(twice));
    for (const name of ['decoder/norm', 'decoder/head', 'adam/m/decoder/head', 'adam/v/connector/projection/kernel'])
      expect(own.values.get(name), name).toEqual(plain.values.get(name));
    for (const name of ['connector/projection/kernel', 'connector/projection/bias'])
      expect(own.values.get(name), name).toEqual(double.values.get(name));
    expect(own.values.get('decoder/embedding')).not.toEqual(plain.values.get('decoder/embedding'));
  });

  test('let a microbatch be that no trained parameter takes part in', async () => {
    const onlyConnector = withFactors({ learningRateFactors: { vision: 0, decoder: 0 } });
    const made = trainProgram(taskOf(onlyConnector), onlyConnector, { variants: variantsOf(onlyConnector, [0]) });
    const engine = javascriptExecutor(made);
    await initialiseState(engine, made, onlyConnector.seed);
    const outputs = await engine.run('gradients/0-images', withRoomFor(text, onlyConnector, 0));
    const { gradientLength = 0 } = made.buckets[0] ?? {};
    const bucket = [...(outputs['bucket/0']?.data ?? [])];
    expect(bucket.slice(0, gradientLength).every((value) => value === 0)).toBe(true);
    expect(bucket[gradientLength]).toBeGreaterThan(0);
    await engine.dispose();
  });
});
