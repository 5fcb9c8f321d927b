import { checkpointDirectory, readTensors, writeManifest } from '@weft/checkpoint';
import { deferred, WeftError } from '@weft/common';
import type { CheckpointFile } from '@weft/contracts';
import { type Box, cut, type HostTensor, type StatePart } from '@weft/tensor';
import { type TemporaryDirectory, temporaryDirectory } from '@weft/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CheckpointSaver, rankShare } from './checkpoint-saver.js';
import type { CheckpointLayout } from './state.js';
import { planOf } from './testing/fake-coordinator.js';

let folder: TemporaryDirectory;
beforeAll(async () => {
  folder = await temporaryDirectory();
});
afterAll(() => folder.remove());

/** Two experts of [2, 4] in one stack, which an engine holds in four boxes: the left and right halves of each. */
const shape = [2, 2, 4];
const stack = Float32Array.from({ length: 16 }, (_, i) => i);
const boxes: Box[] = [0, 1].flatMap((expert) =>
  [0, 2].map((column) => ({ begin: [expert, 0, column], size: [1, 2, 2] })),
);
const part = (index: number) => ({ name: `expert/${index}`, shape: [2, 4], offset: 8 * index });
const layout: CheckpointLayout = {
  tensors: [{ name: 'stack', shape, parts: [part(0), part(1)] }],
  isRemote: () => false,
};

/** An engine whose copies come when the test says so. */
function heldBack() {
  const copied = deferred();
  const freed: number[] = [];
  const copyState = async (names: readonly string[]): Promise<Record<string, readonly StatePart[]>> => {
    expect(names).toEqual(['stack']);
    const parts = boxes.map((box, i): StatePart => {
      const data = cut(stack, shape, box).slice();
      const tensor: HostTensor = { spec: { shape: box.size, dtype: 'float32' }, data, dispose: () => freed.push(i) };
      return { box, values: copied.promise.then(() => tensor) };
    });
    return { stack: parts };
  };
  const prepared: string[] = [];
  const prepareCopy = async (names: readonly string[]) => {
    prepared.push(...names);
  };
  const executor = { copyState, prepareCopy };
  const saver = new CheckpointSaver({ executor, layout, runDirectory: folder.path, share: rankShare });
  const files: CheckpointFile[] = [];
  const coordinator = { checkpointPart: (saved: { files: readonly CheckpointFile[] }) => files.push(...saved.files) };
  return { copied, freed, prepared, saver, files, coordinator };
}

it('goes on while the copies are held back, then writes the tensors that the boxes make up', async () => {
  const { copied, freed, saver, files, coordinator } = heldBack();
  await saver.save(4, planOf(), coordinator);
  expect(files).toEqual([]);
  copied.resolve();
  await saver.settled();
  expect(freed.toSorted()).toEqual([0, 1, 2, 3]);
  const directory = checkpointDirectory(folder.path, 4);
  const manifest = await writeManifest(directory, { runId: 'boxes', step: 4, nextSequence: 4, config: {}, files });
  const read: [string, number[]][] = [];
  for await (const { name, data } of readTensors(directory, manifest)) read.push([name, [...data]]);
  expect(read).toEqual([
    ['expert/0', [...stack.subarray(0, 8)]],
    ['expert/1', [...stack.subarray(8)]],
  ]);
});

it('a copy that fails fails the save, which the next one tells', async () => {
  const { copied, saver, files, coordinator } = heldBack();
  await saver.save(5, planOf(), coordinator);
  copied.reject(new WeftError('internal', 'the device is gone'));
  await expect(saver.save(6, planOf(), coordinator)).rejects.toThrow('the device is gone');
  expect(files).toEqual([]);
});

it('has what its first save needs made ready before, and saves nothing by that', async () => {
  const { prepared, freed, files, saver } = heldBack();
  await saver.prepare(planOf());
  expect(prepared).toEqual(['stack']);
  expect([...freed, ...files]).toEqual([]);
});
