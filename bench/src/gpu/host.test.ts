import { expect, test } from 'vitest';
import { peakOf } from './host.js';

test.each([
  ['NVIDIA H200', 989],
  ['NVIDIA H100 80GB HBM3', 989],
  ['NVIDIA A100-SXM4-40GB', 312],
])('%s does %i TFLOP/s in bf16', (name, peak) => {
  expect(peakOf(name)).toBe(peak);
});

test('cards with other clocks, and those that Weft has no numbers of, have no peak', () => {
  for (const name of ['NVIDIA H100 PCIe', 'NVIDIA H200 NVL', 'NVIDIA B200']) expect(peakOf(name)).toBeUndefined();
});
