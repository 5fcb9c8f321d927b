// A process that trains a recipe for a step on the device and in JavaScript, and tells how far apart the two are.
import { createPjrtExecutor } from '@weft/backend-pjrt';
import type { Precision, RunConfig } from '@weft/config';
import { recipe } from '@weft/recipes';
import { SourceLoss, taskOf } from '@weft/tasks';
import {
  type Executor,
  elementCount,
  type HostArray,
  type HostTensor,
  javascriptExecutor,
  type StateValues,
} from '@weft/tensor';
import { trainProgram } from '@weft/training';
import { send } from '../candidate-loop.js';
import type { PjrtSpec } from '../candidate-spec.js';
import type { BenchModel } from '../models.js';
import { syntheticBatch } from '../synthetic-batch.js';
import { relativeError } from './arrays.js';

/** The argument of the process, as JSON. */
export interface ModelSpec {
  readonly pjrt: PjrtSpec;
  readonly precisions: readonly Precision[];
  readonly recipe: string;
}

/** From the process, as it goes on. */
export interface ModelProgress {
  readonly progress: string;
}

/** From the process for each precision, in order. */
export interface ModelDifferences {
  readonly precision: Precision;
  /** Of the losses and the gradient norm, relative; the greatest. */
  readonly loss: number;
  /** ‖difference‖ / ‖gradient‖ over all parameters. */
  readonly gradients: number;
  /** The same of the parameter where it is greatest. */
  readonly worstParameter: { readonly name: string; readonly difference: number };
  /** The same over all first and second moments after AdamW. */
  readonly moments: number;
}

const spec: ModelSpec = JSON.parse(process.argv[2] ?? '{}');
// One sequence: JavaScript takes a minute for what a device does in milliseconds.
const config = { ...recipe(spec.recipe), microbatchSize: 1 };
const program = trainProgram(taskOf(config), config);
const [first, second] = [batchOf(config, 1), batchOf(config, 2)];

send<ModelProgress>({ progress: 'in JavaScript' });
const eager = javascriptExecutor(program);
const expected = await trainOnce(eager);
await eager.dispose();
for (const precision of spec.precisions) {
  send<ModelProgress>({ progress: `${precision} on the device` });
  const device = createPjrtExecutor(program, { ...spec.pjrt, precision, recompute: 'none' });
  send<ModelDifferences>({ precision, ...differences(await trainOnce(device)) });
  await device.dispose();
}

/** Every phase of a step with two microbatches. */
async function trainOnce(executor: Executor) {
  await executor.writeState(initialState());
  const gradients = await executor.run('gradients', first);
  const sums = await executor.run('accumulate', { ...second, ...gradients });
  const measured = await executor.run('measure', sums);
  const held = await executor.run('evaluate', first);
  const scalars = scalarsOf({ ...measured, ...held });
  const given = { gradNorm: Float32Array.of(scalars.gradNorm ?? Number.NaN), step: Float32Array.of(1) };
  await executor.run('apply', { ...sums, ...given });
  const moments = await executor.readState(Object.keys(program.state).filter((name) => name.startsWith('adam/')));
  return { scalars, buckets: copied(sums), moments: copied(moments) };
}

function initialState(): StateValues {
  const zeros = Object.entries(program.state).map(([name, { shape }]) => [name, new Float32Array(elementCount(shape))]);
  const weights = program.parameters.map(({ name, initialValue }) => [name, initialValue(config.seed)]);
  return Object.fromEntries([...zeros, ...weights]);
}

function batchOf({ model, data, microbatchSize }: RunConfig, seed: number): Record<string, HostArray> {
  const { sequenceLength, decoder, vision, connector } = model;
  const images = { vision, connector, imagesPerSequence: data.imagesPerSequence, present: null };
  const shape: BenchModel = {
    name: config.recipe,
    batchSize: microbatchSize,
    sequenceLength,
    decoder,
    images,
    recompute: 'none',
  };
  const sources = new SourceLoss(Object.keys(data.weights)).arrays([], microbatchSize);
  return { ...syntheticBatch(shape, seed), ...sources };
}

function differences(actual: typeof expected): Omit<ModelDifferences, 'precision'> {
  const scalars = ['loss', 'gradNorm', 'lossSum'].map((name) => {
    return Math.abs((actual.scalars[name] ?? Number.NaN) / (expected.scalars[name] ?? Number.NaN) - 1);
  });
  const parameters = program.buckets.flatMap(({ name: bucket, entries, gradientLength }) =>
    entries.map(({ name, offset }, i) => {
      const end = entries[i + 1]?.offset ?? gradientLength;
      const cut = (arrays: Record<string, Float32Array>) => (arrays[bucket] as Float32Array).subarray(offset, end);
      return { name, difference: relativeError(cut(actual.buckets), cut(expected.buckets)) };
    }),
  );
  const worst = parameters.reduce((one, other) => (other.difference > one.difference ? other : one));
  return {
    loss: Math.max(...scalars),
    gradients: relativeError(joined(actual.buckets), joined(expected.buckets)),
    worstParameter: worst,
    moments: relativeError(joined(actual.moments), joined(expected.moments)),
  };
}

function scalarsOf(tensors: Readonly<Record<string, HostTensor>>): Record<string, number> {
  return Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, data[0] ?? Number.NaN]));
}

/** The engine uses its arrays again once they are disposed. */
function copied(tensors: Readonly<Record<string, HostTensor>>): Record<string, Float32Array> {
  return Object.fromEntries(Object.entries(tensors).map(([name, { data }]) => [name, Float32Array.from(data)]));
}

function joined(arrays: Record<string, Float32Array>): Float32Array {
  const all = Object.values(arrays);
  const result = new Float32Array(all.reduce((sum, { length }) => sum + length, 0));
  let offset = 0;
  for (const each of all) {
    result.set(each, offset);
    offset += each.length;
  }
  return result;
}
