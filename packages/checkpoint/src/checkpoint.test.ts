import { mkdir, mkdtemp, open, readdir, readFile, rm, truncate, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '@weft/common';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  checkpointDirectory,
  type Manifest,
  manifestSha256,
  type NamedTensor,
  newestCheckpoint,
  pruneCheckpoints,
  readManifest,
  readTensors,
  shardTensors,
  verifyCheckpoint,
  writeManifest,
  writeShard,
} from './index.js';

let root: string;
let runs = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'weft-checkpoint-'));
});
afterAll(() => rm(root, { recursive: true }));

const newRun = () => join(root, `run-${++runs}`);

function tensorsOf(shapes: readonly (readonly number[])[], seed = 0): NamedTensor[] {
  return shapes.map((shape, index) => {
    const random = Random.of('tensor', index, seed);
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.normal());
    return { name: `decoder/layers/${index}/weight`, shape, data };
  });
}

const SOME = tensorsOf([[3, 5], [7], [2, 2, 2]]);

async function save(
  run: string,
  step: number,
  tensors: readonly NamedTensor[] = SOME,
  worldSize = 2,
  unhealthy: string | null = null,
): Promise<Manifest> {
  const directory = checkpointDirectory(run, step);
  const files = await Promise.all(
    Array.from({ length: worldSize }, (_, rank) => {
      const mine = new Set(shardTensors(tensors, rank, worldSize));
      return writeShard({ directory, rank, worldSize, tensors: tensors.filter(({ name }) => mine.has(name)) });
    }),
  );
  const draft = { runId: 'r-1', step, nextSequence: step * 8, config: { seed: 1 }, files, unhealthy };
  return writeManifest(directory, draft);
}

async function load(directory: string, manifest: Manifest): Promise<NamedTensor[]> {
  const tensors: NamedTensor[] = [];
  for await (const tensor of readTensors(directory, manifest)) tensors.push(tensor);
  return tensors.sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function edit(path: string, change: (bytes: Buffer) => Buffer): Promise<void> {
  await writeFile(path, change(await readFile(path)));
}

describe('a checkpoint', () => {
  it('gives back every tensor, whatever the shapes and the number of ranks before and after', async () => {
    const shapes = fc.array(fc.array(fc.nat(6), { maxLength: 4 }), { maxLength: 9 });
    const worldSizes = fc.integer({ min: 1, max: 5 });
    await fc.assert(
      fc.asyncProperty(shapes, worldSizes, worldSizes, async (all, before, after) => {
        const run = newRun();
        const tensors = tensorsOf(all);
        const first = await save(run, 10, tensors, before);
        const loaded = await load(checkpointDirectory(run, 10), first);
        expect(loaded).toEqual(tensors);
        const second = await save(run, 20, loaded, after);
        expect(second.files).toHaveLength(after);
        expect(await load(checkpointDirectory(run, 20), await verifyCheckpoint(checkpointDirectory(run, 20)))).toEqual(
          tensors,
        );
        await rm(run, { recursive: true });
      }),
      { numRuns: 15 },
    );
  });

  it('keeps NaN payloads, infinities and denormals bit for bit', async () => {
    const data = new Float32Array(
      Uint32Array.from([0x7fc00001, 0xffbfffff, 0x7f800000, 0x00000001, 0x80000000]).buffer,
    );
    const run = newRun();
    const manifest = await save(run, 1, [{ name: 'odd', shape: [5], data }], 1);
    const [read] = await load(checkpointDirectory(run, 1), manifest);
    expect(Buffer.compare(Buffer.from(read!.data.buffer), Buffer.from(data.buffer))).toBe(0);
  });

  it('reads and hashes files larger than what it moves at a time', async () => {
    const run = newRun();
    const data = Float32Array.from({ length: 1_300_001 }, (_, i) => i);
    await save(run, 1, [{ name: 'large', shape: [1_300_001], data }], 1);
    const { checkpoint } = await newestCheckpoint(run);
    const [read] = await load(checkpoint!.directory, checkpoint!.manifest);
    expect(Buffer.compare(Buffer.from(read!.data.buffer), Buffer.from(data.buffer))).toBe(0);
  });

  it('writes a tensor that is a view in the middle of a buffer', async () => {
    const run = newRun();
    const data = new Float32Array(100).map((_, i) => i).subarray(7, 10);
    const manifest = await save(run, 1, [{ name: 'view', shape: [3], data }], 1);
    expect(Array.from((await load(checkpointDirectory(run, 1), manifest))[0]!.data)).toEqual([7, 8, 9]);
  });

  it('says in its manifest everything needed to go on', async () => {
    const run = newRun();
    const manifest = await save(run, 60);
    expect(checkpointDirectory(run, 60)).toBe(join(run, 'checkpoints', 'step-00000060'));
    expect(await readManifest(checkpointDirectory(run, 60))).toEqual(manifest);
    expect(manifest).toMatchObject({
      formatVersion: 1,
      runId: 'r-1',
      step: 60,
      nextSequence: 480,
      config: { seed: 1 },
    });
    expect(manifest.files.map(({ name }) => name)).toEqual([
      'shard-00000-of-00002.safetensors',
      'shard-00001-of-00002.safetensors',
    ]);
    expect(manifest.tensors).toContainEqual({
      name: 'decoder/layers/0/weight',
      dtype: 'F32',
      shape: [3, 5],
      file: 'shard-00000-of-00002.safetensors',
    });
    expect(manifest.previousManifestSha256).toBeNull();
    expect((await readdir(checkpointDirectory(run, 60))).sort()).toEqual([
      'manifest.json',
      ...manifest.files.map(({ name }) => name),
    ]);
  });

  it('is linked to the one before by the hash of its manifest', async () => {
    const run = newRun();
    await save(run, 20);
    const second = await save(run, 40);
    expect(second.previousStep).toBe(20);
    expect(second.previousManifestSha256).toBe(await manifestSha256(checkpointDirectory(run, 20)));
  });

  it('shares tensors out by bytes, every one to exactly one rank', () => {
    const tensors = [100, 1, 50, 49, 2].map((size, index) => ({ name: `t${index}`, shape: [size] }));
    expect(shardTensors(tensors, 0, 2)).toEqual(['t0', 't1']);
    expect(shardTensors(tensors, 1, 2)).toEqual(['t2', 't3', 't4']);
  });
});

describe('what cannot be saved', () => {
  it('is refused by name', async () => {
    const shard = { directory: checkpointDirectory(newRun(), 1), rank: 0, worldSize: 1 };
    const data = new Float32Array(4);
    await expect(writeShard({ ...shard, tensors: [{ name: 'w', shape: [5], data }] })).rejects.toThrow(
      'tensor "w" of shape [5] has 4 values instead of 5',
    );
    const twice = { name: 'w', shape: [4], data };
    await expect(writeShard({ ...shard, tensors: [twice, twice] })).rejects.toThrow(
      'two tensors of a checkpoint are called "w"',
    );
    await expect(writeShard({ ...shard, rank: 1, tensors: [] })).rejects.toThrow('rank 1');
    expect(() => checkpointDirectory('r', -1)).toThrow('step -1');
  });

  it('gets no manifest while a shard is missing, of another size or holds what another holds', async () => {
    const run = newRun();
    const directory = checkpointDirectory(run, 5);
    const file = await writeShard({ directory, rank: 0, worldSize: 2, tensors: SOME });
    const draft = { runId: 'r', step: 5, nextSequence: 1, config: {} };
    const missing = { ...file, name: 'shard-00001-of-00002.safetensors' };
    await expect(writeManifest(directory, { ...draft, files: [file, missing] })).rejects.toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining('shard-00001-of-00002.safetensors: it does not exist'),
      hint: expect.stringContaining('share'),
    });
    await expect(writeManifest(directory, { ...draft, files: [{ ...file, bytes: 7 }] })).rejects.toThrow(
      'its rank wrote 7',
    );
    const again = await writeShard({ directory, rank: 1, worldSize: 2, tensors: SOME });
    await expect(writeManifest(directory, { ...draft, files: [file, again] })).rejects.toThrow(
      'tensor "decoder/layers/0/weight" is in shard-00000-of-00002.safetensors and in shard-00001-of-00002.safetensors',
    );
    expect((await newestCheckpoint(run)).checkpoint).toBeUndefined();
  });

  it('names the path when the folder cannot be written', async () => {
    const run = newRun();
    await mkdir(run);
    await writeFile(join(run, 'checkpoints'), 'a file in the way');
    await expect(save(run, 1)).rejects.toMatchObject({
      code: 'failed_precondition',
      message: expect.stringContaining(join(run, 'checkpoints', 'step-00000001')),
    });
  });
});

describe('a damaged checkpoint', () => {
  const SHARD = 'shard-00001-of-00002.safetensors';
  const damages: [string, (directory: string) => Promise<unknown>, string][] = [
    [
      'a flipped bit in a shard',
      (at) => edit(join(at, SHARD), (b) => Buffer.concat([b.subarray(0, -1), Buffer.of(b.at(-1)! ^ 1)])),
      `${SHARD} is corrupt: its SHA-256`,
    ],
    ['a truncated shard', (at) => truncate(join(at, SHARD), 100), `${SHARD} is truncated: it has 100 bytes instead of`],
    ['a shard that grew', (at) => edit(join(at, SHARD), (b) => Buffer.concat([b, b])), `${SHARD} is too long`],
    ['a missing shard', (at) => unlink(join(at, SHARD)), `${SHARD} is missing, although the manifest lists it`],
    ['no manifest', (at) => unlink(join(at, 'manifest.json')), 'is not a checkpoint: it has no manifest.json'],
    [
      'a cut manifest',
      (at) => truncate(join(at, 'manifest.json'), 50),
      'manifest.json is corrupt: it is not a JSON object',
    ],
    [
      'a manifest of 200 MB, by its size',
      (at) => truncate(join(at, 'manifest.json'), 200e6),
      'manifest.json is corrupt: 200000000 bytes are too many for a manifest',
    ],
    [
      'a manifest with a wrong type',
      (at) => edit(join(at, 'manifest.json'), (b) => Buffer.from(b.toString().replace('"step": 60', '"step": "60"'))),
      'field "step" must be a whole number, not "60"',
    ],
    [
      'a manifest with a missing field',
      (at) => edit(join(at, 'manifest.json'), (b) => Buffer.from(b.toString().replace('"nextSequence": 480,', ''))),
      'field "nextSequence" is missing',
    ],
    [
      'a manifest of another format',
      (at) =>
        edit(join(at, 'manifest.json'), (b) =>
          Buffer.from(b.toString().replace('"formatVersion": 1', '"formatVersion": 2')),
        ),
      'has format 2, this Weft reads 1',
    ],
    [
      'a manifest that points out of its folder',
      (at) => edit(join(at, 'manifest.json'), (b) => Buffer.from(b.toString().replaceAll(SHARD, '../secret'))),
      'field "name" must be a file name without folder, not "../secret"',
    ],
    [
      'a manifest whose tensor has another shape than its shard',
      (at) => edit(join(at, 'manifest.json'), (b) => Buffer.from(b.toString().replace(/7\n/, '8\n'))),
      'tensor "decoder/layers/1/weight" is F32 [7] instead of F32 [8]',
    ],
    [
      'a manifest of another step',
      (at) => edit(join(at, 'manifest.json'), (b) => Buffer.from(b.toString().replace('"step": 60', '"step": 61'))),
      'holds a checkpoint of step 61',
    ],
  ];

  it.each(damages)('(%s) is skipped with that reason for the one before', async (_, damage, reason) => {
    const run = newRun();
    await save(run, 40);
    await save(run, 60);
    await damage(checkpointDirectory(run, 60));
    const { checkpoint, skipped } = await newestCheckpoint(run);
    expect(checkpoint?.manifest.step).toBe(40);
    expect(skipped.map(({ directory }) => directory)).toEqual([checkpointDirectory(run, 60)]);
    expect(skipped[0]!.reason).toContain(reason);
  });

  it('is one too that says so itself, or lies beyond a step from which on none is to be trusted', async () => {
    const run = newRun();
    await save(run, 20);
    await save(run, 40);
    await save(run, 60, undefined, undefined, 'the run has diverged since step 55');
    const { checkpoint, skipped } = await newestCheckpoint(run);
    expect(checkpoint?.manifest.step).toBe(40);
    expect(skipped).toEqual([
      { directory: checkpointDirectory(run, 60), reason: 'the run has diverged since step 55', isUnhealthy: true },
    ]);
    const older = await newestCheckpoint(run, undefined, {
      unhealthy: { fromStep: 40, reason: 'steps were skipped' },
    });
    expect(older.checkpoint?.manifest.step).toBe(20);
    expect(older.skipped.map(({ reason }) => reason)).toEqual([
      'the run has diverged since step 55',
      'steps were skipped',
    ]);
    expect(await pruneCheckpoints(run, { keepLast: 1 })).toEqual([checkpointDirectory(run, 20)]);
    expect((await newestCheckpoint(run)).checkpoint?.manifest.step).toBe(40);
  });

  it('gives no tensor when its shard was cut after it was verified', async () => {
    const run = newRun();
    const manifest = await save(run, 60);
    await truncate(join(checkpointDirectory(run, 60), SHARD), 200);
    await expect(load(checkpointDirectory(run, 60), manifest)).rejects.toMatchObject({ code: 'corrupt_data' });
  });

  it('is found out when its own manifest was changed after the next one was written', async () => {
    const run = newRun();
    await save(run, 20);
    await save(run, 40);
    await save(run, 60);
    await edit(join(checkpointDirectory(run, 40), 'manifest.json'), (b) =>
      Buffer.from(b.toString().replace('"seed": 1', '"seed": 2')),
    );
    await truncate(join(checkpointDirectory(run, 60), SHARD), 10);
    const { checkpoint, skipped } = await newestCheckpoint(run);
    expect(checkpoint?.manifest.step).toBe(20);
    expect(skipped[1]!.reason).toContain('was changed after step 60 was saved');
  });

  it('is found out when its own manifest is not the one that the log has, also that of the newest', async () => {
    const run = newRun();
    await save(run, 20);
    await save(run, 40);
    const hashes = [20, 40].map(async (step) => [step, await manifestSha256(checkpointDirectory(run, step))] as const);
    const written = new Map(await Promise.all(hashes));
    expect((await newestCheckpoint(run, undefined, { written })).checkpoint?.manifest.step).toBe(40);
    await edit(join(checkpointDirectory(run, 40), 'manifest.json'), (b) =>
      Buffer.from(b.toString().replace('"seed": 1', '"seed": 2')),
    );
    const { checkpoint, skipped } = await newestCheckpoint(run, undefined, { written });
    expect(checkpoint?.manifest.step).toBe(20);
    expect(skipped[0]!.reason).toBe(`the manifest in ${checkpointDirectory(run, 40)} was changed after it was written`);
  });

  it('leaves nothing to go on with when it is the only one', async () => {
    const run = newRun();
    expect(await newestCheckpoint(run)).toEqual({ skipped: [] });
    await save(run, 20);
    await unlink(join(checkpointDirectory(run, 20), SHARD));
    expect(await newestCheckpoint(run)).toMatchObject({ skipped: [{ directory: checkpointDirectory(run, 20) }] });
  });
});

describe('taking a run up again', () => {
  it('puts later checkpoints out of use once an earlier step is saved again', async () => {
    const run = newRun();
    for (const step of [20, 40, 60]) await save(run, step);
    const again = await save(run, 30);
    expect(again.previousStep).toBe(20);
    expect((await newestCheckpoint(run)).checkpoint?.manifest.step).toBe(30);
    expect(await readdir(checkpointDirectory(run, 60))).toContain('manifest.superseded.json');
  });

  it('replaces a checkpoint of the same step, whatever worldSize it had, without a trace', async () => {
    const run = newRun();
    await save(run, 20, SOME, 3);
    await open(join(checkpointDirectory(run, 20), '.shard-00000-of-00003.safetensors.17.tmp'), 'w').then((file) =>
      file.close(),
    );
    const tensors = tensorsOf([[4], [5]], 1);
    await save(run, 20, tensors, 1);
    const { checkpoint } = await newestCheckpoint(run);
    expect(await load(checkpoint!.directory, checkpoint!.manifest)).toEqual(tensors);
    expect((await readdir(checkpoint!.directory)).sort()).toEqual([
      'manifest.json',
      'shard-00000-of-00001.safetensors',
    ]);
  });
});

it('a checkpoint stops being one as soon as one of its shards is written again', async () => {
  const run = newRun();
  await save(run, 20);
  await save(run, 40);
  await writeShard({ directory: checkpointDirectory(run, 40), rank: 0, worldSize: 2, tensors: SOME });
  const { checkpoint, skipped } = await newestCheckpoint(run);
  expect(checkpoint?.manifest.step).toBe(20);
  expect(skipped[0]!.reason).toContain('it has no manifest.json');
});

describe('pruning', () => {
  const stepsLeft = async (run: string) =>
    (await readdir(join(run, 'checkpoints'))).sort().map((name) => Number(name.slice(5)));

  it('keeps the newest, and removes what an attempt left behind', async () => {
    const run = newRun();
    for (const step of [10, 20, 30, 40]) await save(run, step);
    await writeShard({ directory: checkpointDirectory(run, 25), rank: 0, worldSize: 1, tensors: SOME });
    await writeShard({ directory: checkpointDirectory(run, 50), rank: 0, worldSize: 1, tensors: SOME });
    expect(await pruneCheckpoints(run, { keepLast: 2 })).toEqual(
      [10, 20, 25].map((step) => checkpointDirectory(run, step)),
    );
    expect(await stepsLeft(run)).toEqual([30, 40, 50]);
    expect(await pruneCheckpoints(run, { keepLast: 2 })).toEqual([]);
  });

  it('keeps those of every so many steps for good', async () => {
    const run = newRun();
    for (const step of [10, 20, 30, 40, 50]) await save(run, step);
    await pruneCheckpoints(run, { keepLast: 1, keepEvery: 20 });
    expect(await stepsLeft(run)).toEqual([20, 40, 50]);
  });

  it('never removes the newest that verifies', async () => {
    const run = newRun();
    for (const step of [10, 20, 30]) await save(run, step);
    for (const step of [20, 30])
      await truncate(join(checkpointDirectory(run, step), 'shard-00000-of-00002.safetensors'), 9);
    expect(await pruneCheckpoints(run, { keepLast: 1 })).toEqual([checkpointDirectory(run, 20)]);
    expect((await newestCheckpoint(run)).checkpoint?.manifest.step).toBe(10);
  });

  it('removes nothing while nothing verifies, and refuses to keep none', async () => {
    const run = newRun();
    for (const step of [10, 20]) await save(run, step);
    for (const step of [10, 20]) await unlink(join(checkpointDirectory(run, step), 'shard-00000-of-00002.safetensors'));
    expect(await pruneCheckpoints(run, { keepLast: 1 })).toEqual([]);
    await expect(pruneCheckpoints(run, { keepLast: 0 })).rejects.toThrow('keepLast must be a positive integer, not 0');
  });
});
