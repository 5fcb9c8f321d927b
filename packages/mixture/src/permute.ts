import { hash32, mix32, WeftError } from '@weft/common';

/** Enough for the statistics of a shuffle even on domains of a few elements; an even number, so both halves move. */
const ROUNDS = 8;

/**
 * The position of `index` in a shuffled order of [0, size), computed without keeping the order: for one key, every
 * index gives another position. A generalised Feistel network on a grid of just over `size` cells (Black and Rogaway,
 * 2002), walked until it lands inside [0, size).
 *
 * @param size number of elements, at most 2⁵².
 * @param key the name of the order; another key gives an unrelated one.
 * @throws `invalid_argument` when `index` is not in [0, size).
 */
export function permute(index: number, size: number, key: string | number): number {
  const network = feistel(index, size, key);
  let cell = index;
  do cell = network.forth(cell);
  while (cell >= size);
  return cell;
}

/** The inverse of `permute`: which index is shuffled to `position`. */
export function unpermute(position: number, size: number, key: string | number): number {
  const network = feistel(position, size, key);
  let cell = position;
  do cell = network.back(cell);
  while (cell >= size);
  return cell;
}

function feistel(index: number, size: number, key: string | number) {
  if (!Number.isSafeInteger(size) || size < 1 || size > 2 ** 52)
    throw new WeftError('invalid_argument', `a permutation needs a size between 1 and 2^52, not ${size}`);
  if (!Number.isSafeInteger(index) || index < 0 || index >= size)
    throw new WeftError('invalid_argument', `index ${index} is not in a permutation of ${size} elements`);
  const rows = Math.ceil(Math.sqrt(size));
  const columns = Math.ceil(size / rows);
  const keyHash = hash32(String(key));
  const noise = (round: number, half: number) => mix32(keyHash ^ mix32(half ^ Math.imul(round + 1, 0x9e3779b9)));

  return {
    forth(cell: number): number {
      let row = Math.floor(cell / columns);
      let column = cell % columns;
      for (let round = 0; round < ROUNDS; round += 2) {
        row = (row + noise(round, column)) % rows;
        column = (column + noise(round + 1, row)) % columns;
      }
      return row * columns + column;
    },
    back(cell: number): number {
      let row = Math.floor(cell / columns);
      let column = cell % columns;
      for (let round = ROUNDS - 2; round >= 0; round -= 2) {
        column = modulo(column - noise(round + 1, row), columns);
        row = modulo(row - noise(round, column), rows);
      }
      return row * columns + column;
    },
  };
}

function modulo(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}
