import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createPjrtExecutor, installPlugin, type Mesh } from '@weft/backend-pjrt';
import { createExecutor } from '@weft/backend-tensorflow';
import { checkpointDirectory, verifyCheckpoint, writeManifest } from '@weft/checkpoint';
import { type RunConfig, resolveRunConfig } from '@weft/config';
import type { CheckpointFile } from '@weft/contracts';
import { recipe } from '@weft/recipes';
import { taskOf } from '@weft/tasks';
import type { Executor } from '@weft/tensor';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CheckpointSaver, rankShare } from './checkpoint-saver.js';
import { initialiseState, TrainState } from './state.js';
import { planOf } from './testing/fake-coordinator.js';
import { trainProgram } from './train-program.js';

const ONE: Mesh = { fsdp: 1, tensor: 1, expert: 1 };
const nano = recipe('debugNano');
const groupSize = nano.model.sequenceLength;
const decoder = { ...nano.model.decoder, moe: { experts: 4, everyLayers: 2, groupSize } };
const config: RunConfig = resolveRunConfig({ ...nano, microbatchSize: 4, model: { ...nano.model, decoder } });

let folder: string;
let pluginPath: string;
const open: Executor[] = [];
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'weft-checkpoints-'));
  pluginPath = (await installPlugin({ platform: 'cpu' })).path;
});
afterAll(async () => {
  for (const executor of open) await executor.dispose();
  rmSync(folder, { recursive: true });
});

const joined = trainProgram(taskOf(config), config);
const separate = trainProgram(taskOf(config), config, { layout: 'separate' });

function onTensorflow() {
  const executor = createExecutor(joined, { kind: 'graph', precision: 'fp32', recompute: 'none', threads: 1 });
  open.push(executor);
  return { executor, program: joined };
}

function onMesh(mesh: Mesh) {
  const clientOptions = { cpu_device_count: mesh.fsdp * mesh.tensor * mesh.expert };
  const executor = createPjrtExecutor(separate, {
    precision: 'fp32',
    recompute: 'none',
    pluginPath,
    mesh,
    clientOptions,
  });
  open.push(executor);
  return { executor, program: separate };
}

type Engine = ReturnType<typeof onTensorflow>;

/** What every rank of two saves of an engine's state, as a checkpoint. */
async function save({ executor, program }: Engine, step: number) {
  const files: CheckpointFile[] = [];
  for (const rank of [0, 1]) {
    const saver = new CheckpointSaver({ executor, layout: program.layout, runDirectory: folder, share: rankShare });
    const coordinator = { checkpointPart: (part: { files: readonly CheckpointFile[] }) => files.push(...part.files) };
    await saver.save(step, planOf({ rank, worldSize: 2 }), coordinator);
    await saver.settled();
  }
  const directory = checkpointDirectory(folder, step);
  await writeManifest(directory, { runId: 'mesh', step, nextSequence: 4 * step, config, files });
  return { directory, manifest: await verifyCheckpoint(directory) };
}

async function load({ executor, program }: Engine, directory: string): Promise<void> {
  const state = new TrainState({ executor, program, seed: 1, initFrom: null });
  await state.prepare({ firstStep: 2, state: { kind: 'checkpoint', directory } });
}

async function bits({ executor, program }: Engine): Promise<Record<string, Float32Array>> {
  const state = await executor.readState();
  const names = Object.keys(program.state);
  return Object.fromEntries(names.map((name) => [name, Float32Array.from(state[name]?.data ?? [])]));
}

it('a checkpoint of any mesh is the same files as one of TensorFlow, and loads there and into any other mesh', async () => {
  const first = onMesh({ fsdp: 2, tensor: 2, expert: 1 });
  await initialiseState(first.executor, first.program, 11);
  const expected = await bits(first);
  // Moments that are not zeros, so that they too could be mixed up.
  const moments = Object.keys(expected).filter((name) => name.startsWith('adam/'));
  for (const [i, name] of moments.entries()) {
    const { length = 0 } = expected[name] ?? {};
    expected[name] = Float32Array.from({ length }, (_, at) => i + at / length);
  }
  await first.executor.writeState(expected);
  const written = await save(first, 1);

  const tensorflow = onTensorflow();
  await load(tensorflow, written.directory);
  expect(await bits(tensorflow)).toEqual(expected);
  const again = await save(tensorflow, 2);
  expect(again.manifest.files.map(({ sha256 }) => sha256)).toEqual(written.manifest.files.map(({ sha256 }) => sha256));
  expect(again.manifest.tensors).toEqual(written.manifest.tensors);

  for (const mesh of [ONE, { ...ONE, fsdp: 4 }, { ...ONE, expert: 2, fsdp: 2 }]) {
    const other = onMesh(mesh);
    await load(other, again.directory);
    expect(await bits(other)).toEqual(expected);
  }
});
