import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { VersionedMap } from './versioned-map.js';

const change = fc.record({
  /** Which of the versions so far it is made from. */
  from: fc.nat(),
  key: fc.nat(5),
  value: fc.option(fc.nat(3), { nil: undefined }),
});

describe('a versioned map', () => {
  it('leaves every version as it was, whichever of them is changed or read in between', () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const versions = [VersionedMap.empty<number, number>()];
        const expected = [new Map<number, number>()];
        for (const { from, key, value } of changes) {
          const at = from % versions.length;
          versions.push(value === undefined ? versions[at]!.without(key) : versions[at]!.with(key, value));
          const copy = new Map(expected[at]);
          if (value === undefined) copy.delete(key);
          else copy.set(key, value);
          expected.push(copy);
        }
        for (const [at, version] of [...versions.entries()].reverse()) {
          expect(version.size).toBe(expected[at]!.size);
          expect(new Map(version)).toEqual(expected[at]);
          for (let key = 0; key < 6; key++) expect(version.get(key)).toBe(expected[at]!.get(key));
        }
      }),
    );
  });

  it('is the same version when nothing changes', () => {
    const map = VersionedMap.from([['a', 1]]);
    expect(map.with('a', 1)).toBe(map);
    expect(map.without('b')).toBe(map);
  });

  it('may be changed while it is iterated', () => {
    let map = VersionedMap.from([1, 2, 3].map((key) => [key, key]));
    for (const key of map.keys()) map = map.without(key);
    expect(map.size).toBe(0);
  });
});
