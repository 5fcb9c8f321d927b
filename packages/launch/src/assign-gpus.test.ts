import { describe, expect, it } from 'vitest';
import { gpuArguments, namedGpus, visibleGpus } from './assign-gpus.js';

describe('local workers', () => {
  it('get a GPU each, in turn when there are not enough', () => {
    expect([0, 1, 2].map((worker) => gpuArguments(worker, ['0', '3']))).toEqual([
      ['--gpus', '0'],
      ['--gpus', '3'],
      ['--gpus', '0'],
    ]);
    expect(gpuArguments(0, [])).toEqual([]);
  });

  it('get only those that the environment leaves', async () => {
    expect(await visibleGpus({ CUDA_VISIBLE_DEVICES: '2,5' })).toEqual(['2', '5']);
    expect(['', '-1', '1,-1,2', 'GPU-a1b2, GPU-c3d4'].map(namedGpus)).toEqual([
      [],
      [],
      ['1'],
      ['GPU-a1b2', 'GPU-c3d4'],
    ]);
  });
});
