import { describe, expect, test } from 'vitest';
import { clientOptionsOf, drivesGpus, gpuOptionsOf } from './client-options.js';
import { STRUCTS, VALUE_TYPE } from './functions.js';
import { namedValueStructs } from './named-values.js';
import { int64sFrom, readStruct } from './struct.js';

describe("a GPU's client", () => {
  test('is set as users of JAX know it', () => {
    expect(gpuOptionsOf({})).toEqual({});
    const environment = {
      XLA_CLIENT_MEM_FRACTION: '.9',
      XLA_PYTHON_CLIENT_MEM_FRACTION: '.5',
      XLA_PYTHON_CLIENT_PREALLOCATE: 'false',
      XLA_PYTHON_CLIENT_ALLOCATOR: 'platform',
    };
    expect(gpuOptionsOf(environment)).toEqual({ memory_fraction: 0.9, preallocate: false, allocator: 'platform' });
    expect(gpuOptionsOf({ ...environment, XLA_CLIENT_MEM_FRACTION: '' })).toMatchObject({ memory_fraction: 0.5 });
  });

  test.each(['0', '1.2', 'most', 'NaN'])('refuses the share %s by the name of its variable', (share) => {
    expect(() => gpuOptionsOf({ XLA_CLIENT_MEM_FRACTION: share })).toThrow(`XLA_CLIENT_MEM_FRACTION is ${share}`);
  });

  test('refuses what is neither true nor false', () => {
    expect(() => gpuOptionsOf({ XLA_PYTHON_CLIENT_PREALLOCATE: 'maybe' })).toThrow('PREALLOCATE is maybe');
  });

  test('is that of a plugin for GPUs, by its file', () => {
    expect(drivesGpus('/x/xla_cuda12/xla_cuda_plugin.so')).toBe(true);
    expect(drivesGpus('/x/xla_rocm_plugin.so')).toBe(true);
    expect(drivesGpus('/cuda/pjrt_c_api_cpu_plugin.so')).toBe(false);
  });
});

test('virtual devices of a CPU are counted as JAX counts them', () => {
  const cpu = '/x/pjrt_c_api_cpu_plugin.so';
  expect(clientOptionsOf(cpu, { JAX_NUM_CPU_DEVICES: '4', XLA_CLIENT_MEM_FRACTION: '.9' })).toEqual({
    cpu_device_count: 4,
  });
  expect(clientOptionsOf('/x/xla_cuda_plugin.so', { JAX_NUM_CPU_DEVICES: '4' })).toEqual({});
  expect(() => clientOptionsOf(cpu, { JAX_NUM_CPU_DEVICES: '0' })).toThrow('JAX_NUM_CPU_DEVICES is 0');
});

test('values have the types of C: a share is a float even where it is 1, a list one of integers', () => {
  const read = (struct: ReturnType<typeof namedValueStructs>[number]) =>
    readStruct(STRUCTS.NamedValue, new DataView(struct.bytes.buffer));
  const [share, devices] = namedValueStructs({ memory_fraction: 1, visible_devices: [2, 3] }).map(read);
  expect(share).toMatchObject({ type: VALUE_TYPE.float, value: 0x3f800000n });
  expect(devices).toMatchObject({ type: VALUE_TYPE.int64List, valueSize: 2 });
  expect(int64sFrom(devices?.value ?? 0n, 2)).toEqual([2, 3]);
});
