import { describe, expect, it } from 'vitest';
import { atLeast, chooseVariant, isNeeded, TENSORFLOW_VERSION, WHEELS } from './tensorflow-wheels.mjs';

const host = { platform: 'linux', architecture: 'x64', glibc: '2.36', gpu: false };

describe('the choice of a build', () => {
  it('is the CPU build where no GPU answers, the GPU build where one does', () => {
    expect(chooseVariant(host).variant).toBe('cpu');
    expect(chooseVariant({ ...host, gpu: true }).variant).toBe('gpu');
  });

  it('is none, with the reason, where the wheels cannot run', () => {
    expect(chooseVariant({ ...host, platform: 'darwin', architecture: 'arm64' })).toEqual({
      variant: null,
      reason: 'no TensorFlow library is pinned for darwin on arm64',
    });
    expect(chooseVariant({ ...host, glibc: null }).reason).toMatch(/needs glibc/);
    expect(chooseVariant({ ...host, glibc: '2.17' }).reason).toMatch(/glibc 2\.27, this host has 2\.17/);
  });
});

describe('the pins', () => {
  it('name a file, its size and its SHA-256', () => {
    for (const wheel of [...WHEELS.cpu, ...WHEELS.gpu]) {
      expect(wheel.file.startsWith(`${wheel.project.replaceAll('-', '_')}-${wheel.version}-`)).toBe(true);
      expect(wheel.sha256).toMatch(/^[0-9a-f]{64}$/);
      expect(wheel.unpackedBytes).toBeGreaterThan(wheel.bytes / 2);
    }
    expect(WHEELS.cpu.map(({ project }) => project)).toEqual(['tensorflow-cpu']);
    expect(WHEELS.gpu[0]).toMatchObject({ project: 'tensorflow', version: TENSORFLOW_VERSION });
    expect(WHEELS.gpu.slice(1).every(({ project }) => /^nvidia-.*-cu12$/.test(project))).toBe(true);
  });

  it('unpack the two libraries, and of NVIDIA what is needed at run time, in their folders', () => {
    expect(isNeeded('tensorflow/libtensorflow_cc.so.2')).toBe(true);
    expect(isNeeded('tensorflow/libtensorflow_framework.so.2')).toBe(true);
    expect(isNeeded('tensorflow/python/lib_pywrap_tensorflow_common.so')).toBe(false);
    expect(isNeeded('nvidia/cudnn/lib/libcudnn.so.9')).toBe(true);
    expect(isNeeded('nvidia/cuda_nvcc/bin/ptxas')).toBe(true);
    expect(isNeeded('nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc')).toBe(true);
    expect(isNeeded('nvidia/cublas/include/cublas.h')).toBe(false);
    expect(isNeeded('nvidia/cublas/lib/__init__.py')).toBe(false);
    expect(isNeeded('nvidia/cublas/lib/')).toBe(false);
  });
});

it('compares versions by their numbers', () => {
  expect(atLeast('2.21.0', [2, 18])).toBe(true);
  expect(atLeast('2.18', [2, 18])).toBe(true);
  expect(atLeast('2.9.1', [2, 18])).toBe(false);
  expect(atLeast('3.0', [2, 18])).toBe(true);
  expect(atLeast('2.19.0rc1', [2, 19])).toBe(true);
});
