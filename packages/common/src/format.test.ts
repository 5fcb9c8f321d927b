import { describe, expect, it } from 'vitest';
import { age, bytes, count, decimal, duration, large, percent, plural } from './format.js';

describe('numbers as people read them', () => {
  it('groups digits and scales units', () => {
    expect([0, 999, 1234567].map(count)).toEqual(['0', '999', '1,234,567']);
    expect([12, 1500, 1_387_264, 30_100_000_000].map(large)).toEqual(['12', '1.50 k', '1.39 M', '30.1 B']);
    expect([999_600, 999_400].map(large)).toEqual(['1.00 M', '999 k']);
    expect([0, 1023, 1536, 1024 ** 3 * 2].map(bytes)).toEqual(['0 B', '1023 B', '1.5 KiB', '2 GiB']);
    expect([plural(1, 'worker'), plural(3, 'worker')]).toEqual(['1 worker', '3 workers']);
  });

  it('never rounds a duration into sixty seconds or sixty minutes', () => {
    expect([0.34, 0.9999, 1.5, 9.96, 59.6, 72, 3599.7, 7500, 200_000].map(duration)).toEqual([
      '340ms',
      '1s',
      '1.5s',
      '10s',
      '1m 00s',
      '1m 12s',
      '1h 00m',
      '2h 05m',
      '2d 7h',
    ]);
    expect(duration(Number.NaN)).toBe('?');
  });

  it('says how long ago something was', () => {
    expect([0, 12_000, 200_000, 18_000_000, 200_000_000].map(age)).toEqual([
      '0 s ago',
      '12 s ago',
      '3 min ago',
      '5 h ago',
      '2 d ago',
    ]);
  });

  it('keeps four significant places of a loss and says when there is none', () => {
    expect([5.54321, 12.3456, 0.00012, 0, Number.NaN, undefined, null].map(decimal)).toEqual([
      '5.5432',
      '12.35',
      '1.20e-4',
      '0.0000',
      'not finite',
      '-',
      '-',
    ]);
  });

  it('says 100 % only when nothing is left', () => {
    expect([0, 0.29, 59.99 / 60, 1].map(percent)).toEqual(['0 %', '29 %', '99 %', '100 %']);
  });
});
