import fc from 'fast-check';
import { expect, it } from 'vitest';
import { asBytes } from './duplex.js';
import { SimdAccumulator } from './simd-accumulator.js';

it('rounds each sum to float32, as one addition does', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.float(), fc.float()), { maxLength: 70 }), (pairs) => {
      const accumulator = new SimdAccumulator(65_536);
      const target = Float32Array.from(pairs, ([a]) => a);
      accumulator.scratch.set(asBytes(Float32Array.from(pairs, ([, b]) => b)));
      accumulator.addTo(target, pairs.length);
      expect(target).toEqual(Float32Array.from(pairs, ([a, b]) => Math.fround(a + b)));
    }),
  );
});
