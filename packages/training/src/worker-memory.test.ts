import { expect, it } from 'vitest';
import { devicePeak, type MemorySources, workerMemory } from './worker-memory.js';

const sources: MemorySources = {
  machineBytes: 64e9,
  containerBytes: undefined,
  meminfo: 'MemTotal:  1 kB\nSwapTotal:       2048 kB\n',
  gpuLines: () => '81559\n40960\n[N/A]\n',
};
const cpu = { hasAccelerator: false, tensorflow: 'cpu' } as const;

it("a worker tells its host's memory with swap, or its container's, and that of its smallest GPU", () => {
  expect(workerMemory(cpu, sources)).toEqual({ hostBytes: 64e9 + 2 ** 21, devices: 0, deviceBytes: 0 });
  expect(workerMemory(cpu, { ...sources, containerBytes: 8e9, meminfo: '' }).hostBytes).toBe(8e9);
  // What Node says where a container has no limit.
  for (const containerBytes of [0, 2 ** 63])
    expect(workerMemory(cpu, { ...sources, containerBytes, meminfo: '' }).hostBytes).toBe(64e9);
  expect(workerMemory({ ...cpu, hasAccelerator: true }, sources)).toMatchObject({
    devices: 2,
    deviceBytes: 40960 * 2 ** 20,
  });
});

it('what it does not know is 0', () => {
  expect(workerMemory({ ...cpu, tensorflow: 'gpu' }, sources).hostBytes).toBe(0);
  expect(workerMemory({ ...cpu, hasAccelerator: true }, { ...sources, gpuLines: () => '' })).toMatchObject({
    devices: 0,
    deviceBytes: 0,
  });
});

it('this machine has some', () => {
  expect(workerMemory(cpu).hostBytes).toBeGreaterThan(2 ** 28);
});

it('a worker tells the peak of its GPUs by the table of chips, or as a person says; of a processor nobody knows it', () => {
  const gpu = { hasAccelerator: true, tensorflow: undefined } as const;
  const h100 = 'NVIDIA H100 80GB HBM3';
  expect(devicePeak(gpu, undefined, () => `${h100}\n`)?.bf16).toBe(989e12);
  expect(devicePeak(gpu, undefined, () => `${h100}\n${h100}\n`)?.bf16).toBe(2 * 989e12);
  expect(devicePeak(gpu, undefined, () => h100)?.fp32).toBeLessThan(100e12);
  expect(devicePeak(gpu, undefined, () => `${h100}\nNVIDIA T4\n`)).toBeUndefined();
  expect(devicePeak(gpu, undefined, () => '')).toBeUndefined();
  expect(devicePeak(cpu, undefined, () => h100)).toBeUndefined();
  expect(devicePeak(cpu, 0.5)).toEqual({ bf16: 0.5e12, fp32: 0.5e12 });
});
