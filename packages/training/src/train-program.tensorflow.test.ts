import { createExecutor, type EngineKind } from '@weft/backend-tensorflow';
import { resolveRunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import { type Executor, type HostTensor, javascriptExecutor } from '@weft/tensor';
import { afterAll, describe, expect, it } from 'vitest';
import { initialiseState } from './state.js';
import { syntheticBatch, variantsOf, withoutImages, withRoomFor } from './testing/synthetic-batch.js';
import { trainProgram } from './train-program.js';

const config = recipe('debugTiny');
const program = trainProgram(taskOf(config), config, { variants: variantsOf(config, [0, 10]) });
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

  it('gives the same to 1e-6 when it computes only the images that are there, or none', async () => {
    const graph = await executor('graph');
    const batch = syntheticBatch(config, 4);
    for (const [whole, packed] of [
      [batch, withRoomFor(batch, config, 10)],
      [withoutImages(batch), withRoomFor(withoutImages(batch), config, 0)],
    ] as const) {
      const phase = program.phaseOf('gradients', packed);
      expect(phase).toMatch(/-images$/);
      const [expected, actual] = [await graph.run('gradients', whole), await graph.run(phase, packed)];
      for (const { name } of program.buckets) {
        const [a, b] = [values(actual, name), values(expected, name)];
        expect(distance(a, b)).toBeLessThan(1e-6 * norm(b));
      }
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

  it('updates by AdaFactor as the JavaScript engine does, experts among its arrays', async () => {
    const nano = recipe('debugNano');
    const decoder = { ...nano.model.decoder, moe: { experts: 2, everyLayers: 2 } };
    const optimizer = { ...nano.optimizer, kind: 'adafactor' as const };
    const small = resolveRunConfig({ ...nano, microbatchSize: 2, model: { ...nano.model, decoder }, optimizer });
    const adafactor = trainProgram(taskOf(small), small);
    const both = [
      createExecutor(adafactor, { kind: 'graph', precision: 'fp32', threads: 1 }),
      javascriptExecutor(adafactor),
    ];
    open.push(...both);
    const states = await Promise.all(
      both.map(async (engine) => {
        await initialiseState(engine, adafactor, small.seed);
        for (const step of [1, 2]) {
          const buckets = await engine.run('gradients', syntheticBatch(small, step));
          const gradNorm = values(await engine.run('measure', buckets), 'gradNorm');
          await engine.run('apply', { ...buckets, gradNorm, step: Float32Array.of(step) });
        }
        return engine.readState();
      }),
    );
    for (const name of Object.keys(adafactor.state)) {
      const [graph, plain] = states.map((state) => values(state, name)) as [Float32Array, Float32Array];
      expect.soft(distance(graph, plain), name).toBeLessThan(1e-4 * norm(plain) + 1e-12);
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
