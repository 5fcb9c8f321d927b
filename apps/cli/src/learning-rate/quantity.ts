import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1e3, M: 1e6, B: 1e9, T: 1e12 };

/** A number of parameters or tokens as people write it: 30e9, 30B, 302M, 1200000000. */
export function quantity(text: string): number {
  const [, digits = '', unit = ''] = text.match(/^([\d.]+(?:e[+-]?\d+)?)\s*([kMBT]?)$/) ?? [];
  const value = Number(digits) * (UNITS[unit] ?? Number.NaN);
  if (digits === '' || !(Number.isFinite(value) && value > 0))
    throw new InvalidArgumentError('It must be a number above 0, such as 30e9, 30B or 302M.');
  return value;
}

/** Appends, so that `--predict 1B 7B` and `--predict 1B --predict 7B` mean the same. */
export function quantities(text: string, earlier: readonly number[] | undefined): number[] {
  return [...(earlier ?? []), quantity(text)];
}

/** A probability such as 0.95. */
export function level(text: string): number {
  const value = Number(text);
  if (text === '' || !(value > 0 && value < 1)) throw new InvalidArgumentError('It must lie between 0 and 1.');
  return value;
}
