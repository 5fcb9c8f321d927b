import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { combineDigests, digestOf, EMPTY_DIGEST } from './index.js';

describe('the sequence digest', () => {
  it('is the same however the sequences are shared out among ranks', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string(), { maxLength: 20 }), fc.nat(20), fc.nat(20), (identities, a, b) => {
        const [first, second] = [Math.min(a, b), Math.max(a, b)];
        const slices = [identities.slice(0, first), identities.slice(first, second), identities.slice(second)];
        expect(combineDigests(slices.map(digestOf))).toBe(digestOf(identities));
      }),
    );
  });

  it('changes with any identity', () => {
    expect(digestOf(['d/0/text/5', 'd/1/text/6'])).not.toBe(digestOf(['d/0/text/6', 'd/1/text/5']));
    expect(digestOf([])).toBe(EMPTY_DIGEST);
  });

  it('refuses what is not a digest', () => {
    expect(() => combineDigests(['abc'])).toThrow('64 hexadecimal digits');
  });
});
