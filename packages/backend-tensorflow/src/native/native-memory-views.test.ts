import { describe, expect, test } from 'vitest';
import { nativeBytes } from './native-memory-views.js';

const MIB = 2 ** 20;
/** An address that nobody reads. */
const SOMEWHERE = 2n ** 40n + 12_345n * 64n;

describe('bytes in native memory', () => {
  test('are as many as asked for, at their own place', () => {
    const [first, second] = [nativeBytes(SOMEWHERE, 4 * MIB), nativeBytes(SOMEWHERE + 256n, 12)];
    expect([first.length, second.length]).toEqual([4 * MIB, 12]);
    expect(second.byteOffset - first.byteOffset).toBe(256);
  });

  test('share one wide view, which V8 counts once', () => {
    const before = process.memoryUsage().arrayBuffers;
    const buffers = Array.from({ length: 100 }, (_, i) => nativeBytes(SOMEWHERE + BigInt(i * 64), 16 * MIB).buffer);
    expect(new Set(buffers).size).toBe(1);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(200 * MIB);
  });

  test.each([1, 64 * MIB - 1, 64 * MIB, 64 * MIB + 1, 500 * MIB])(
    'lie whole in a window wherever they begin: %i',
    (length) => {
      for (const offset of [0n, 1n, 2n ** 26n - 1n, 2n ** 26n, 2n ** 29n - 1n])
        expect(nativeBytes(SOMEWHERE + offset, length).length).toBe(length);
    },
  );

  test('may be none', () => {
    expect(nativeBytes(0n, 0).length).toBe(0);
  });
});
