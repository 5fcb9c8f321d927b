import { resolveRunConfig } from '@weft/config';
import { tinyRun } from '@weft/testing';
import { describe, expect, it } from 'vitest';
import { bf16Backends, bf16Support, type ComputeHost, localPrecision, parseCapabilities } from './bf16-support.js';
import { openExecutor } from './run-engine.js';

const avx2: ComputeHost = { hasAccelerator: false, tensorflow: 'cpu', instructions: ['AVX', 'AVX2'], capabilities: [] };
const zen5: ComputeHost = { ...avx2, instructions: ['AVX', 'AVX2', 'AVX-512', 'AVX512_BF16'] };
const gpu = (...capabilities: readonly number[]): ComputeHost => ({ ...avx2, hasAccelerator: true, capabilities });

describe('bf16', () => {
  it('is native where the processor has the instructions, and says which', () => {
    expect(bf16Support('tensorflow', zen5)).toEqual({ isNative: true, reason: 'AVX512_BF16' });
    expect(bf16Support('auto', zen5)).toEqual({ isNative: true, reason: 'AVX512_BF16' });
    expect(bf16Support('auto', avx2)).toEqual({ isNative: false, reason: 'no AVX512_BF16 or AMX' });
  });

  it('is native on GPUs from compute capability 8.0, all of a host', () => {
    expect(bf16Support('auto', gpu(9))).toEqual({ isNative: true, reason: 'GPU of compute capability 9.0' });
    expect(bf16Support('pjrt', gpu(8))).toMatchObject({ isNative: true });
    expect(bf16Support('pjrt', gpu(9, 7.5))).toEqual({
      isNative: false,
      reason: 'GPU of compute capability 7.5, below 8.0',
    });
    expect(bf16Support('pjrt', gpu())).toMatchObject({ isNative: false });
    expect(bf16Support('tensorflow', { ...avx2, tensorflow: 'gpu', capabilities: [8.6] })).toMatchObject({
      isNative: true,
    });
  });

  it('is never native in JavaScript, nor with a backend that is not there', () => {
    expect(bf16Support('javascript', zen5).isNative).toBe(false);
    expect(bf16Support('auto', { ...zen5, tensorflow: undefined }).reason).toBe('the JavaScript engine has fp32 only');
    expect(bf16Support('tensorflow', { ...zen5, tensorflow: undefined }).isNative).toBe(false);
    expect(bf16Support('pjrt', zen5)).toEqual({ isNative: false, reason: 'no accelerator' });
  });

  it('is told of each backend, because runs choose theirs', () => {
    expect(bf16Backends(avx2)).toEqual([]);
    expect(bf16Backends(zen5)).toEqual(['auto', 'tensorflow']);
    expect(bf16Backends(gpu(9))).toEqual(['auto', 'pjrt']);
    expect(bf16Backends({ ...gpu(7.5), instructions: zen5.instructions })).toEqual(['tensorflow']);
  });
});

it('compute capabilities are read from what nvidia-smi lists', () => {
  expect(parseCapabilities('9.0\n7.5\n')).toEqual([9, 7.5]);
  expect(parseCapabilities('[N/A]\n')).toEqual([]);
});

it('a host that computes alone resolves auto for itself, and nothing else', () => {
  const config = (precision: 'fp32' | 'bf16' | 'auto') => resolveRunConfig({ ...tinyRun, precision });
  expect(localPrecision(config('auto'), () => zen5)).toBe('bf16');
  expect(localPrecision(config('auto'), () => avx2)).toBe('fp32');
  expect(localPrecision(config('fp32'), () => zen5)).toBe('fp32');
  expect(localPrecision(config('bf16'), () => avx2)).toBe('bf16');
});

it('an executor refuses auto, which ranks could resolve differently', () => {
  const config = resolveRunConfig({ ...tinyRun, precision: 'auto' });
  expect(() => openExecutor({ name: 'none', state: {}, phases: {} }, { config })).toThrow('precision is still auto');
});
