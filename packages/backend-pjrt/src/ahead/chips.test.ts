import { expect, test } from 'vitest';
import { chipNames, parseChip, readChip } from './chips.js';

const SMALL = `# A chip of tests.
peak_bf16_tflop_per_second: 12.5
link_gigabytes_per_second: 3
device_description_str: "Small"
gpu_device_info {
  core_count: 10
  clock_rate_ghz: 1.5
  device_memory_size: 1073741824
  memory_bandwidth: 2000000000
  fpus_per_core: 100
}
`;

test('a chip tells its name, memory and speeds, and the rest is for the plugin', () => {
  expect(parseChip('small.txt', SMALL)).toEqual({
    name: 'Small',
    memoryBytes: 2 ** 30,
    peakBf16TflopPerSecond: 12.5,
    peakFp32TflopPerSecond: 3,
    memoryBytesPerSecond: 2e9,
    linkBytesPerSecond: 3e9,
    targetConfig: SMALL.slice(SMALL.indexOf('device_description_str')),
  });
});

test('what is wrong with a chip is said with its file and field', () => {
  const without = (field: string) => SMALL.replace(new RegExp(`.*${field}.*\n`), '');
  expect(() => parseChip('small.txt', without('peak_'))).toThrow(
    'small.txt: there is no field peak_bf16_tflop_per_second',
  );
  expect(() => parseChip('small.txt', without('device_memory'))).toThrow(/there is no field device_memory_size/);
  expect(() => parseChip('small.txt', SMALL.replace('12.5', 'fast'))).toThrow(
    'small.txt: peak_bf16_tflop_per_second is fast, which it cannot be',
  );
});

test('every chip of the folder can be read', () => {
  expect(chipNames()).toEqual(['a100', 'h100', 'h200']);
  const gibibytes = chipNames().map((name) => Math.round(readChip(name).memoryBytes / 2 ** 30));
  expect(gibibytes).toEqual([79, 79, 141]);
});

test('an unknown chip is refused, with the one that was meant', () => {
  expect(() => readChip('h10')).toThrow(
    expect.objectContaining({ code: 'not_found', hint: 'write h100, or one of a100, h100, h200' }),
  );
  expect(() => readChip('../h100')).toThrow(/there is no chip/);
});
