import { describe, expect, it } from 'vitest';
import { hash32, mix32, Random } from './random.js';

const take = <T>(count: number, draw: () => T) => Array.from({ length: count }, draw);

describe('Random', () => {
  it('gives the same stream on every machine and in every version', () => {
    const random = Random.of(0, 'init', 'decoder/layers/0/attention/query');
    expect(take(4, () => random.uint32())).toMatchInlineSnapshot(`
      [
        926729608,
        611695542,
        571219946,
        2311584502,
      ]
    `);
    const normal = Random.of(7);
    expect(take(3, () => normal.normal())).toMatchInlineSnapshot(`
      [
        -0.6782189801186566,
        0.4000426446099135,
        -1.4324010662182391,
      ]
    `);
  });

  it('streams with different labels differ, and labels do not run into one another', () => {
    const first = (...labels: (string | number)[]) => Random.of(...labels).uint32();
    const draws = [first('ab', 'c'), first('a', 'bc'), first('abc'), first(1, 2), first(12), first(2, 1)];
    expect(new Set(draws).size).toBe(draws.length);
  });

  it('uniform numbers fill [0, 1) evenly', () => {
    const random = Random.of('uniform');
    const bins = Array.from({ length: 10 }, () => 0);
    for (const value of take(20_000, () => random.uniform())) {
      expect(value).toBeGreaterThanOrEqual(0);
      expect(value).toBeLessThan(1);
      const bin = Math.floor(value * 10);
      bins[bin] = (bins[bin] ?? 0) + 1;
    }
    for (const count of bins) expect(Math.abs(count - 2000)).toBeLessThan(200);
  });

  it('below(n) reaches every integer under n and no other', () => {
    const random = Random.of('below');
    expect([...new Set(take(500, () => random.below(7)))].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('normal numbers have mean 0, variance 1 and no skew', () => {
    const random = Random.of('normal');
    const values = take(20_000, () => random.normal());
    const mean = (power: number) => values.reduce((sum, value) => sum + value ** power, 0) / values.length;
    expect(mean(1)).toBeCloseTo(0, 1);
    expect(mean(2)).toBeCloseTo(1, 1);
    expect(mean(3)).toBeCloseTo(0, 0);
    expect(values.every(Number.isFinite)).toBe(true);
  });
});

describe('hash32', () => {
  it('is fixed for ever', () => {
    expect([hash32(''), hash32('weft'), hash32('weft', 1), mix32(1)]).toMatchInlineSnapshot(`
      [
        2872998923,
        1683330023,
        1235878311,
        1364076727,
      ]
    `);
  });

  it('changes about half of its bits when one character changes', () => {
    const changed = take(200, () => 0).map((_, i) => bitCount(hash32(`sequence/${i}`) ^ hash32(`sequence/${i + 1}`)));
    expect(changed.reduce((sum, bits) => sum + bits, 0) / changed.length).toBeCloseTo(16, -0.5);
  });
});

function bitCount(value: number): number {
  let count = 0;
  for (let rest = value >>> 0; rest > 0; rest >>>= 1) count += rest & 1;
  return count;
}
