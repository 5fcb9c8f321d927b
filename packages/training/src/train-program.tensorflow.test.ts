import { createExecutor, type EngineKind } from '@weft/backend-tensorflow';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import type { Executor, HostTensor } from '@weft/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import { syntheticBatch } from './testing/synthetic-batch.js';
import { trainProgram } from './train-program.js';

const config = recipe('debugTiny');
const program = trainProgram(taskOf(config), config);
const open: Executor[] = [];
afterAll(async () => {
  for (const one of open) await one.dispose();
});

async function executor(kind: EngineKind, threads = 1): Promise<Executor> {
  const made = createExecutor(program, { kind, precision: 'fp32', threads });
  open.push(made);
  await made.writeState(
    Object.fromEntries(program.parameters.map(({ name, initialValue }) => [name, initialValue(config.seed)])),
  );
  return made;
}

function values(tensors: Readonly<Record<string, HostTensor>>, name: string): Float32Array {
  const data = tensors[name]?.data;
  if (!(data instanceof Float32Array)) throw new Error(`there is no output ${name}`);
  return data;
}

function bytesOf({ buffer, byteOffset, byteLength }: Float32Array): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function norm(values: Iterable<number>): number {
  let squares = 0;
  for (const x of values) squares += x * x;
  return Math.sqrt(squares);
}

function distance(a: Float32Array, b: Float32Array): number {
  return norm(Array.from(a, (x, i) => x - (b[i] as number)));
}

describe('the training program', () => {
  it('gives the same loss and every gradient recorded and eagerly, to 1e-5', async () => {
    const batch = syntheticBatch(config, 1);
    const [graph, eager] = [await executor('graph'), await executor('eager')];
    const recorded = await graph.run('gradients', batch);
    const stepped = await eager.run('gradients', batch);
    for (const { name, entries, gradientLength } of program.buckets) {
      const [a, b] = [values(recorded, name), values(stepped, name)];
      for (const [i, { name: parameter, offset }] of entries.entries()) {
        const end = entries[i + 1]?.offset ?? gradientLength;
        const apart = distance(a.subarray(offset, end), b.subarray(offset, end));
        expect.soft(apart, `gradient of ${parameter}`).toBeLessThan(1e-5 * norm(b.subarray(offset, end)));
      }
      const [total, expected] = [a.subarray(gradientLength), b.subarray(gradientLength)];
      expect(distance(total, expected)).toBeLessThan(1e-5 * norm(expected));
    }
  });

  it('sums microbatches as one larger batch would', async () => {
    const graph = await executor('graph');
    const [first, second] = [syntheticBatch(config, 1), syntheticBatch(config, 2)];
    const alone = await graph.run('gradients', second);
    const once = await graph.run('gradients', first);
    const both = await graph.run('accumulate', { ...second, ...once });
    for (const { name } of program.buckets) {
      const expected = values(once, name).map((x, i) => x + (values(alone, name)[i] as number));
      expect(distance(values(both, name), expected)).toBeLessThan(1e-6 * norm(expected));
    }
  });

  it.each([1, 2])('is bit for bit the same each time with %i threads', async (threads) => {
    const graph = await executor('graph', threads);
    const batch = syntheticBatch(config, 3);
    const first = await graph.run('gradients', batch);
    for (let again = 0; again < 5; again++) {
      const repeated = await graph.run('gradients', batch);
      for (const { name } of program.buckets)
        expect(bytesOf(values(repeated, name)).equals(bytesOf(values(first, name)))).toBe(true);
    }
  });
});
