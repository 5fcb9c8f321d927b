import { type Program, tf } from '@weft/tensor';
import { describe, expect, test } from 'vitest';
import { record } from '../testing/run-lowered.js';
import { chooseMesh, describeMesh, type MeshNeeds, temporaryBytes } from './choose-mesh.js';

const GIB = 2 ** 30;
const matrix = { shape: [1024, 1024], dtype: 'float32', axes: ['embed', 'mlp'] } as const;
const expert = { shape: [8, 1024, 1024], dtype: 'float32', axes: ['expert', 'embed', 'mlp'] } as const;

/** 16 GiB of state in matrices, 8 GiB of temporaries, 8 devices. */
const needs: MeshNeeds = {
  devices: 8,
  memoryBytes: 80 * GIB,
  state: Array.from({ length: 4096 }, () => matrix),
  temporaryBytes: 8 * GIB,
  allows: () => true,
};
const choose = (changes: Partial<MeshNeeds>) => describeMesh(chooseMesh({ ...needs, ...changes }));

describe('the automatic mesh', () => {
  test('is fsdp alone where that fits, also where nobody knows the memory', () => {
    expect(choose({})).toBe('fsdp 8');
    expect(choose({ memoryBytes: undefined })).toBe('fsdp 8');
    expect(choose({ devices: 1 })).toBe('1 device');
  });

  test('cuts experts, then features, where the layers that fsdp gathers are too large', () => {
    const huge = { shape: [64, 8192, 8192], dtype: 'float32', axes: expert.axes } as const;
    // 16 GiB of experts gathered, twice, beside 2 GiB of shards and 1 GiB of temporaries.
    expect(choose({ state: [huge], memoryBytes: 48 * GIB })).toBe('fsdp 8');
    expect(choose({ state: [huge], memoryBytes: 24 * GIB })).toBe('expert 2 × fsdp 4');
    const dense = (mesh: { expert: number }) => mesh.expert === 1;
    expect(choose({ state: [huge], memoryBytes: 24 * GIB, allows: dense })).toBe('fsdp 4 × tensor 2');
  });

  test('is one that the model allows, and the smallest where none fits', () => {
    // A batch of two sequences.
    expect(choose({ allows: ({ fsdp, expert }) => 2 % (fsdp * expert) === 0 })).toBe('fsdp 2 × tensor 4');
    expect(choose({ allows: () => false })).toBe('1 device');
    expect(choose({ memoryBytes: GIB, state: [matrix, expert] })).toBe('expert 8');
  });
});

test('the temporaries of a phase are the values that wait for a use at one time', () => {
  const square = { shape: [16, 16], dtype: 'float32' } as const;
  const program: Program = {
    name: 'chain',
    state: {},
    phases: {
      run: {
        inputs: { x: square },
        run: ({ input }) => {
          const a = tf.exp(input('x'));
          const b = tf.exp(a);
          const c = tf.exp(b);
          return { y: tf.add(a, c) };
        },
      },
    },
  };
  // a waits while c is made of b.
  expect(temporaryBytes(record(program, 'run'))).toBe(3 * 16 * 16 * 4);
});
