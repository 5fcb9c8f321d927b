import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkpointDirectory, type NamedTensor, shardTensors, writeManifest, writeShard } from './index.js';

const SCRIPT = fileURLToPath(new URL('../../../scripts/check-safetensors.py', import.meta.url));
const PYTHON = process.env.PYTHON ?? 'python3';
const hasPython = spawnSync(PYTHON, ['--version']).status === 0;
const hasSafetensors = spawnSync(PYTHON, ['-c', 'import safetensors, numpy']).status === 0;

let run: string;
let directory: string;
beforeEach(async () => {
  run = await mkdtemp(join(tmpdir(), 'weft-python-'));
  directory = checkpointDirectory(run, 60);
  const tensors: NamedTensor[] = [
    { name: 'decoder/embedding', shape: [2, 3], data: Float32Array.of(0, -1.5, 2, 3, 4, 5) },
    { name: 'adam/m/decoder/embedding', shape: [2, 3], data: new Float32Array(6) },
    { name: 'scale', shape: [], data: Float32Array.of(0.25) },
    { name: 'nothing', shape: [0, 4], data: new Float32Array(0) },
    { name: 'ünïcode "name"', shape: [1], data: Float32Array.of(1) },
  ];
  const files = await Promise.all(
    [0, 1, 2].map((rank) => {
      const mine = new Set(shardTensors(tensors, rank, 3));
      return writeShard({ directory, rank, worldSize: 3, tensors: tensors.filter(({ name }) => mine.has(name)) });
    }),
  );
  await writeManifest(directory, { runId: 'r', step: 60, nextSequence: 480, config: {}, files });
});
afterEach(() => rm(run, { recursive: true }));

function check(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(PYTHON, [SCRIPT, ...args], { encoding: 'utf8' });
  return { status, output: stdout + stderr };
}

describe.skipIf(!hasSafetensors)(
  'scripts/check-safetensors.py, with the reference implementation of the format',
  () => {
    it('finds the names, shapes, dtypes and values that were written', () => {
      const { status, output } = check(directory, '--json');
      expect(status).toBe(0);
      const { tensors, problems } = JSON.parse(output);
      expect(problems).toEqual([]);
      expect(tensors).toHaveLength(5);
      expect(tensors).toContainEqual({
        name: 'decoder/embedding',
        dtype: 'float32',
        shape: [2, 3],
        file: expect.stringMatching(/^shard-/),
        finite: true,
        max_abs: 5,
      });
      expect(tensors).toContainEqual(expect.objectContaining({ name: 'scale', shape: [], max_abs: 0.25 }));
    });

    it('prints a table, for the manifest as for its folder', () => {
      const { status, output } = check(join(directory, 'manifest.json'));
      expect(status).toBe(0);
      expect(output).toMatch(/adam\/m\/decoder\/embedding +float32 +2×3 +0 +shard-/);
      expect(output).toContain('step 60: 5 tensors in 3 files: names, shapes and dtypes agree with the manifest');
    });

    it('says what differs', async () => {
      const path = join(directory, 'manifest.json');
      const manifest = JSON.parse(await readFile(path, 'utf8'));
      manifest.tensors[0].shape = [9];
      await writeFile(path, JSON.stringify(manifest));
      await truncate(join(directory, 'shard-00002-of-00003.safetensors'), 20);
      const { status, output } = check(directory);
      expect(status).toBe(1);
      expect(output).toContain('instead of [9]');
      expect(output).toContain('shard-00002-of-00003.safetensors: cannot be opened');
    });

    it('says when there is nothing to check', () => {
      const { status, output } = check(join(run, 'elsewhere'));
      expect(status).toBe(2);
      expect(output).toContain('does not exist: name the folder of a checkpoint');
    });
  },
);

it.skipIf(!hasPython || hasSafetensors)('scripts/check-safetensors.py says how to install what it lacks', () => {
  const { status, output } = check(directory);
  expect(status).toBe(2);
  expect(output).toContain('-m pip install safetensors numpy');
});
