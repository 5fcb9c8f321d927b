import { describe, expect, test } from 'vitest';
import { candidatesOf, PEERS, planCases, rotated } from './plan.js';

const everything = {
  models: ['decoder-5m', 'mm1-tiny'],
  precisions: ['fp32', 'bf16'],
  threads: [1, 2],
  processes: [1, 2],
} as const;

describe('the plan', () => {
  test('crosses models, threads and precisions', () => {
    const cases = planCases({ ...everything, processes: [1] }, 2);
    expect(cases).toHaveLength(8);
    expect(cases[0]).toEqual({ model: 'decoder-5m', precision: 'fp32', threads: 1, processes: 1 });
  });

  test('has data-parallel cases of every model, where the cores suffice', () => {
    const parallel = planCases(everything, 2).filter(({ processes }) => processes === 2);
    expect(parallel.map(({ model, threads, precision }) => [model, threads, precision])).toEqual([
      ['decoder-5m', 1, 'fp32'],
      ['decoder-5m', 1, 'bf16'],
      ['mm1-tiny', 1, 'fp32'],
      ['mm1-tiny', 1, 'bf16'],
    ]);
    expect(planCases(everything, 4).filter(({ processes }) => processes === 2)).toHaveLength(8);
  });

  test('sets peers only against work that they can do', () => {
    const decoder = { model: 'decoder-5m', precision: 'fp32', threads: 1, processes: 1 } as const;
    expect(candidatesOf(decoder, PEERS)).toEqual(['weft', 'torch-eager', 'torch-compile', 'jax', 'gemm', 'torch-gemm']);
    expect(candidatesOf(decoder, [])).toEqual(['weft', 'gemm']);
    const others = { hasBefore: true, hasFixed: true };
    expect(candidatesOf(decoder, [], others)).toEqual(['weft', 'weft-before', 'weft-fixed', 'gemm']);
    expect(candidatesOf({ ...decoder, processes: 2 }, [], { hasBefore: true })).toEqual([
      'weft',
      'weft-before',
      'gemm',
    ]);
    expect(candidatesOf({ ...decoder, model: 'mm1-tiny', processes: 2 }, PEERS)).toEqual([
      'weft',
      'weft-alone',
      'weft-apart',
      'torch-ddp',
      'gemm',
      'torch-gemm',
    ]);
  });

  test('lets everybody begin a round in turn', () => {
    expect([0, 1, 2, 3].map((round) => rotated(['a', 'b', 'c'], round).join(''))).toEqual(['abc', 'bca', 'cab', 'abc']);
  });
});
