import { expect, test } from 'vitest';
import { chipNames, parseChip, readChip } from './chips.js';

const SMALL = `# A chip of tests.
peak_bf16_tflop_per_second: 12.5
device_description_str: "Small"
gpu_device_info {
  device_memory_size: 1073741824
}
`;

test('a chip tells its name, memory and peak, and the rest is for the plugin', () => {
  expect(parseChip('small.txt', SMALL)).toEqual({
    name: 'Small',
    memoryBytes: 2 ** 30,
    peakBf16TflopPerSecond: 12.5,
    targetConfig: 'device_description_str: "Small"\ngpu_device_info {\n  device_memory_size: 1073741824\n}\n',
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
