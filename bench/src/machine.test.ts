import { expect, test } from 'vitest';
import { busyCoreSeconds, machineSentence, nativePrecisions, parseBusySeconds, parseCores } from './machine.js';

test('cores are numbers and ranges of them', () => {
  expect(parseCores('0-1')).toEqual([0, 1]);
  expect(parseCores('3')).toEqual([3]);
  expect(parseCores('0-2,8,10-11')).toEqual([0, 1, 2, 8, 10, 11]);
});

test('what is taken of the cores counts work, interrupts and what the host kept, not idling and guests', () => {
  const stat = 'cpu  100 20 300 4000 500 6 70 8 900 1000\ncpu0 1 1 1 1 1 1 1 1 1 1\nctxt 5\n';
  expect(parseBusySeconds(stat)).toBeCloseTo(5.04);
  expect(parseBusySeconds('intr 1\n')).toBeUndefined();
});

test.runIf(process.platform === 'linux')('the busy time of this machine can be read', () => {
  expect(busyCoreSeconds()).toBeGreaterThan(0);
});

test('a processor without bf16 instructions is measured in fp32 only, and its table names what it has', () => {
  const machine = { processor: 'EPYC', cores: 2, node: 'v20', instructions: ['AVX', 'AVX2'] } as const;
  expect(nativePrecisions(machine)).toEqual(['fp32']);
  expect(nativePrecisions({ instructions: ['AVX-512', 'AVX512_BF16'] })).toEqual(['fp32', 'bf16']);
  expect(machineSentence(machine)).toBe('EPYC, AVX, AVX2, 2 cores, Node v20');
});

test('so is one whose bf16 instructions the library may not use', () => {
  const machine = { processor: 'EPYC', cores: 2, node: 'v20', instructions: ['AVX2', 'AVX512_BF16'] } as const;
  expect(nativePrecisions({ ...machine, onednnLimit: 'avx2' })).toEqual(['fp32']);
  expect(nativePrecisions({ ...machine, onednnLimit: 'AVX512_CORE' })).toEqual(['fp32']);
  expect(nativePrecisions({ ...machine, onednnLimit: 'AVX512_CORE_BF16' })).toEqual(['fp32', 'bf16']);
  expect(machineSentence({ ...machine, onednnLimit: 'AVX2' })).toContain(
    'AVX512_BF16, oneDNN limited to AVX2, 2 cores',
  );
});
