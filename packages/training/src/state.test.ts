import { checkpointDirectory, writeManifest, writeShard } from '@weft/checkpoint';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import { resizePositions } from '@weft/model';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import { type Box, type Executor, elementCount, javascriptExecutor, paste } from '@weft/tensor';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterAll, describe, expect, it } from 'vitest';
import { expertProgram } from './moe/expert-program.js';
import { initialiseFrom, type StatefulProgram, TrainState } from './state.js';
import { syntheticBatch } from './testing/synthetic-batch.js';
import { trainProgram } from './train-program.js';

const folders: TemporaryDirectory[] = [];
const executors: Executor[] = [];
afterAll(async () => {
  for (const executor of executors) await executor.dispose();
  for (const folder of folders) await folder.remove();
});

const moe = { experts: 3, everyLayers: 2, capacityFactor: 'dropless', loadBalanceWeight: 0, routerZWeight: 0 };

function configOf(decoder: object): RunConfig {
  const nano = recipe('debugNano');
  const model = { ...nano.model, decoder: { ...nano.model.decoder, ...decoder } };
  return resolveRunConfig({ ...nano, microbatchSize: 1, model });
}

const dense = configOf({});
const sparse = configOf({ moe });

/** A checkpoint that holds what the programs hold after their start from a seed, without moments. */
async function checkpointOf({ parameters }: StatefulProgram, seed: number): Promise<string> {
  const folder = await temporaryDirectory();
  folders.push(folder);
  const directory = checkpointDirectory(folder.path, 4);
  const tensors = parameters.map((spec) => ({ name: spec.name, shape: spec.shape, data: spec.initialValue(seed) }));
  const file = await writeShard({ directory, rank: 0, worldSize: 1, tensors });
  await writeManifest(directory, { runId: 'dense', step: 4, nextSequence: 16, config: dense, files: [file] });
  return directory;
}

async function beginFrom(program: StatefulProgram, directory: string): Promise<Executor> {
  const executor = javascriptExecutor(program);
  executors.push(executor);
  await initialiseFrom(executor, program, 9, directory);
  return executor;
}

async function read(executor: Executor, name: string): Promise<Float32Array> {
  const { [name]: tensor } = await executor.readState([name]);
  const values = Float32Array.from(tensor?.data ?? []);
  tensor?.dispose();
  return values;
}

const spec = (program: StatefulProgram, name: string) =>
  program.parameters.find((each) => each.name === name) ?? expect.fail(`there is no ${name}`);

describe('a sparse run that begins from a dense checkpoint', () => {
  const [denseProgram, sparseProgram] = [trainProgram(taskOf(dense), dense), trainProgram(taskOf(sparse), sparse)];

  it('has copies of the dense feed-forward as experts, a fresh router, and all else as it was', async () => {
    const executor = await beginFrom(sparseProgram, await checkpointOf(denseProgram, 5));
    for (const matrix of ['gate', 'up', 'down']) {
      const twin = spec(denseProgram, `decoder/layers/1/feedForward/${matrix}`).initialValue(5);
      const experts = await read(executor, `decoder/layers/1/experts/${matrix}`);
      expect(experts).toEqual(Float32Array.from([...twin, ...twin, ...twin]));
    }
    const router = spec(sparseProgram, 'decoder/layers/1/moe/router');
    expect(await read(executor, router.name)).toEqual(router.initialValue(9));
    for (const name of ['decoder/embedding', 'decoder/layers/0/feedForward/gate', 'vision/patch/kernel']) {
      expect(await read(executor, name)).toEqual(spec(denseProgram, name).initialValue(5));
    }
    expect((await read(executor, 'adam/m/decoder/embedding')).every((value) => value === 0)).toBe(true);
  });

  it('begins with the loss of the dense model', async () => {
    const directory = await checkpointOf(denseProgram, 5);
    const loss = async (program: typeof sparseProgram, config: RunConfig) => {
      const executor = await beginFrom(program, directory);
      const outputs = await executor.run('gradients', syntheticBatch(config, 3));
      const [bucket] = program.buckets;
      const lossSum = outputs['bucket/0']?.data[bucket?.gradientLength ?? 0] ?? Number.NaN;
      for (const output of Object.values(outputs)) output.dispose();
      return lossSum;
    };
    const expected = await loss(denseProgram, dense);
    expect(Math.abs((await loss(sparseProgram, sparse)) / expected - 1)).toBeLessThan(1e-5);
  });

  it('reads on an expert worker only its experts', async () => {
    const directory = await checkpointOf(denseProgram, 5);
    const executor = await beginFrom(expertProgram(sparse, { first: 1, end: 3 }), directory);
    const twin = spec(denseProgram, 'decoder/layers/1/feedForward/up').initialValue(5);
    expect(await read(executor, 'decoder/layers/1/experts/up')).toEqual(Float32Array.from([...twin, ...twin]));
  });
});

it('a run may begin from a checkpoint of its own kind, routers included, and from no other', async () => {
  const [denseProgram, sparseProgram] = [trainProgram(taskOf(dense), dense), trainProgram(taskOf(sparse), sparse)];
  const executor = await beginFrom(denseProgram, await checkpointOf(denseProgram, 5));
  const norm = 'decoder/layers/0/attention/query';
  expect(await read(executor, norm)).toEqual(spec(denseProgram, norm).initialValue(5));

  const routers = { ...sparseProgram, parameters: sparseProgram.parameters.filter(({ shape }) => shape.length < 3) };
  await expect(beginFrom(denseProgram, await checkpointOf(routers, 5))).rejects.toThrow(
    /cannot begin from checkpoint .*: it lacks decoder\/layers\/1\/feedForward\/gate/,
  );
  const wide = configOf({ feedForwardWidth: 100 });
  const wider = trainProgram(taskOf(wide), wide);
  await expect(beginFrom(wider, await checkpointOf(denseProgram, 5))).rejects.toThrow(
    'decoder/layers/0/feedForward/gate is [32, 96] there and [32, 100] in the model',
  );
});

it('a run may begin each part from a checkpoint of its own, with positions of another grid', async () => {
  const nano = recipe('debugNano');
  const imageSize = 2 * nano.model.vision.imageSize;
  const larger = resolveRunConfig({ ...nano, model: { ...nano.model, vision: { ...nano.model.vision, imageSize } } });
  const [program, small] = [trainProgram(taskOf(larger), larger), trainProgram(taskOf(dense), dense)];
  const executor = javascriptExecutor(program);
  executors.push(executor);
  const [vision, decoder] = [await checkpointOf(small, 5), await checkpointOf(small, 6)];
  await initialiseFrom(executor, program, 9, { vision, connector: null, decoder });
  for (const [name, seed] of [
    ['vision/patch/kernel', 5],
    ['connector/projection/kernel', 9],
    ['decoder/embedding', 6],
  ] as const)
    expect(await read(executor, name), name).toEqual(spec(program, name).initialValue(seed));
  const positions = spec(small, 'vision/positions');
  const { shape } = spec(program, 'vision/positions');
  const resized = resizePositions(positions.initialValue(5), positions.shape, shape);
  expect(await read(executor, 'vision/positions')).toEqual(resized);
});

it('an engine that holds arrays in boxes is given those boxes, and no more', async () => {
  const [denseProgram, sparseProgram] = [trainProgram(taskOf(dense), dense), trainProgram(taskOf(sparse), sparse)];
  const directory = await checkpointOf(denseProgram, 5);
  const whole = await beginFrom(sparseProgram, directory);
  const inBoxes = javascriptExecutor(sparseProgram);
  executors.push(inBoxes);
  let largest = 0;
  inBoxes.fillState = async (names, valuesOf) => {
    for (const name of names) {
      const { shape } = sparseProgram.state[name]!;
      const joined = new Float32Array(elementCount(shape));
      for (const box of halves(shape)) {
        const values = await valuesOf(name, box);
        expect(values.length).toBe(elementCount(box.size));
        largest = Math.max(largest, values.length);
        paste(joined, shape, box, values);
      }
      await inBoxes.writeState({ [name]: joined });
    }
  };
  await initialiseFrom(inBoxes, sparseProgram, 9, directory);
  for (const name of Object.keys(sparseProgram.state))
    expect(await read(inBoxes, name)).toEqual(await read(whole, name));
  expect(largest).toBe(Math.max(...Object.values(sparseProgram.state).map(({ shape }) => elementCount(shape))) / 4);
});

it('what AdaFactor keeps comes back from a checkpoint, on an expert worker that of its experts alone', async () => {
  const config = { ...sparse, optimizer: { ...sparse.optimizer, kind: 'adafactor' as const } };
  const program = trainProgram(taskOf(config), config);
  const folder = await temporaryDirectory();
  folders.push(folder);
  const directory = checkpointDirectory(folder.path, 4);
  const numbers = (name: string, length: number) =>
    Float32Array.from({ length }, (_, i) => Object.keys(program.state).indexOf(name) + i / length);
  const tensors = program.layout.tensors.flatMap(({ name, shape, parts }) => {
    const values = numbers(name, elementCount(shape));
    return parts.map((part) => ({
      ...part,
      data: values.subarray(part.offset, part.offset + elementCount(part.shape)),
    }));
  });
  expect(tensors.map(({ name, shape }) => [name, shape])).toContainEqual([
    'adafactor/row/decoder/layers/1/experts/2/gate',
    [config.model.decoder.width],
  ]);
  const file = await writeShard({ directory, rank: 0, worldSize: 1, tensors });
  await writeManifest(directory, { runId: 'a', step: 4, nextSequence: 16, config, files: [file] });
  const load = async (loaded: StatefulProgram) => {
    const executor = javascriptExecutor(loaded);
    executors.push(executor);
    const state = new TrainState({ executor, program: loaded, seed: 1, initFrom: null });
    await state.prepare({ state: { kind: 'checkpoint', directory }, firstStep: 5 });
    return executor;
  };
  const whole = await load(program);
  for (const { name, shape } of program.layout.tensors)
    expect(await read(whole, name), name).toEqual(numbers(name, elementCount(shape)));
  const experts = await load(expertProgram(config, { first: 1, end: 3 }));
  for (const name of ['adafactor/row', 'adafactor/column'].map((each) => `${each}/decoder/layers/1/experts/up`)) {
    const all = await read(whole, name);
    expect(await read(experts, name)).toEqual(all.subarray(all.length / 3));
  }
  await expect(load(sparseProgramOfAdamw())).rejects.toThrow(/holds adafactor\/.*, which the model does not have/);
});

const sparseProgramOfAdamw = () => trainProgram(taskOf(sparse), sparse);

/** Every axis of even length cut in two. */
function halves(shape: readonly number[]): Box[] {
  return shape.reduce<Box[]>(
    (boxes, length) => {
      const size = length % 2 === 0 ? length / 2 : length;
      const begins = length % 2 === 0 ? [0, size] : [0];
      return boxes.flatMap((box) =>
        begins.map((begin) => ({ begin: [...box.begin, begin], size: [...box.size, size] })),
      );
    },
    [{ begin: [], size: [] }],
  );
}
