import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('a train program trains and is recorded where no native library of any engine can be loaded', () => {
  const script = fileURLToPath(new URL('../test-support/train-without-native.mjs', import.meta.url));
  const { first, last, ops } = JSON.parse(execFileSync(process.execPath, [script], { encoding: 'utf8' }));
  expect(first).toBeCloseTo((16 + 1 + 4 + 36) / 4);
  expect(last).toBeLessThan(first / 5);
  expect(ops).toEqual(
    ['gradients', 'accumulate', 'evaluate', 'measure', 'apply'].map((phase) => [phase, expect.any(Number), true]),
  );
});
