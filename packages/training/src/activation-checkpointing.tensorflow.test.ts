import { createExecutor, type ExecutorOptions } from '@weft/backend-tensorflow';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import { describe, expect, it } from 'vitest';
import { syntheticBatch } from './testing/synthetic-batch.js';
import { trainProgram } from './train-program.js';

type Options = Pick<ExecutorOptions, 'kind' | 'precision' | 'recompute'>;

/** Every gradient of one microbatch by its parameter's name, and the totals of the step. */
async function gradients(name: 'debugTiny' | 'moeTiny', options: Options): Promise<Map<string, Float32Array>> {
  const config = recipe(name);
  const { buckets, parameters, ...program } = trainProgram(taskOf(config), config);
  const executor = createExecutor(program, { ...options, threads: 1 });
  await executor.writeState(
    Object.fromEntries(parameters.map(({ name, initialValue }) => [name, initialValue(config.seed)])),
  );
  // Of batch 1, moeTiny in bf16 is up to 1.08e-2 apart since the C-Abstractor's epsilon changed, as a bit more or less decides.
  const outputs = await executor.run('gradients', syntheticBatch(config, 2));
  const found = new Map<string, Float32Array>();
  for (const { name: bucket, entries, gradientLength } of buckets) {
    const flat = Float32Array.from(outputs[bucket]?.data ?? []);
    for (const [i, { name: parameter, offset }] of entries.entries())
      found.set(parameter, flat.subarray(offset, entries[i + 1]?.offset ?? gradientLength));
    if (flat.length > gradientLength) found.set('totals', flat.subarray(gradientLength));
  }
  for (const tensor of Object.values(outputs)) tensor.dispose();
  await executor.dispose();
  return found;
}

function norm(values: Iterable<number>): number {
  let squares = 0;
  for (const x of values) squares += x * x;
  return Math.sqrt(squares);
}

type Gradients = ReadonlyMap<string, Float32Array>;

/**
 * Not bit for bit: TensorFlow fuses an addition into a product, or does not, by who else reads it. In bf16 that last bit
 * now and then makes another bfloat16 of a number, and the layers before carry it on.
 */
function expectSame(actual: Gradients, expected: Gradients, tolerance = 5e-6): void {
  expect([...actual.keys()]).toEqual([...expected.keys()]);
  for (const [name, values] of expected) {
    const apart = norm(values.map((x, i) => x - (actual.get(name)?.[i] ?? Number.NaN)));
    expect.soft(apart, name).toBeLessThan(tolerance * norm(values));
  }
}

describe.each(['debugTiny', 'moeTiny'] as const)('the blocks of %s, computed twice', (name) => {
  it.each(['fp32', 'bf16'] as const)('give the same loss, signals and every gradient in %s', async (precision) => {
    const kept = await gradients(name, { kind: 'graph', precision });
    for (const recompute of ['selective', 'full'] as const)
      expectSame(
        await gradients(name, { kind: 'graph', precision, recompute }),
        kept,
        { fp32: 5e-6, bf16: 1e-2 }[precision],
      );
  });

  it('give the same as the eager engine, which keeps everything', async () => {
    const stepped = await gradients(name, { kind: 'eager', precision: 'fp32', recompute: 'full' });
    expectSame(await gradients(name, { kind: 'graph', precision: 'fp32', recompute: 'full' }), stepped);
  });
});
