import { expect, test } from 'vitest';
import { opTimings } from './run-trace.js';

const field = (number: number, bytes: readonly number[]) => [(number << 3) | 2, bytes.length, ...bytes];
const text = (number: number, value: string) => field(number, [...new TextEncoder().encode(value)]);
const runMetadata = (...nodes: readonly number[][]) =>
  Uint8Array.from(field(1, field(1, [...text(1, '/job:localhost/CPU:0'), ...nodes.flatMap((node) => field(2, node))])));

test('the timings of a traced run are read from its metadata', () => {
  // 14 and 15 are nanoseconds since the node was scheduled: 1,000 and 2,001,000 as varints.
  const [start, end] = [
    [0x70, 0xe8, 0x07],
    [0x78, 0xe8, 0x90, 0x7a],
  ];
  const matmul = [...text(1, 'step/7_MatMul'), ...text(8, 'step/7_MatMul = _FusedMatMul(a, b)'), ...start, ...end];
  const noise = [...text(1, 'edge'), 0x49, 1, 2, 3, 4, 5, 6, 7, 8, 0x55, 1, 2, 3, 4];
  expect(opTimings(runMetadata(matmul, noise))).toEqual([
    { name: 'step/7_MatMul', type: '_FusedMatMul', milliseconds: 2 },
    { name: 'edge', type: 'edge', milliseconds: 0 },
  ]);
});

test('an untraced run has no timings', () => {
  expect(opTimings(new Uint8Array(0))).toEqual([]);
});
