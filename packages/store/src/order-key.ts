/**
 * A position in an order: `whole` first, then `part`, a fraction written in letters. Between any two keys there is always
 * another, so nothing else is renumbered when a job moves.
 */
export interface OrderKey {
  readonly whole: number;
  readonly part: string;
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

/** Negative when `left` comes before `right`, as for `Array.sort`. */
export function compareOrderKeys(left: OrderKey, right: OrderKey): number {
  if (left.whole !== right.whole) return left.whole - right.whole;
  if (left.part === right.part) return 0;
  return left.part < right.part ? -1 : 1;
}

/** A key after `left` and before `right`; without `left` any key before `right`, without `right` any key after `left`. */
export function orderKeyBetween(left: OrderKey | undefined, right: OrderKey | undefined): OrderKey {
  if (left === undefined) return { whole: (right?.whole ?? 1) - 1, part: '' };
  if (right === undefined || right.whole > left.whole + 1) return { whole: left.whole + 1, part: '' };
  return { whole: left.whole, part: partBetween(left.part, right.whole === left.whole ? right.part : undefined) };
}

/** The shortest word of letters after `left` and before `right`; it never ends with the first letter. */
function partBetween(left: string, right: string | undefined): string {
  let common = 0;
  while (right !== undefined && common < right.length && (left[common] ?? LETTERS[0]) === right[common]) common++;
  if (right !== undefined && common > 0)
    return right.slice(0, common) + partBetween(left.slice(common), right.slice(common));
  const low = left === '' ? 0 : LETTERS.indexOf(left.charAt(0));
  const high = right === undefined ? LETTERS.length : LETTERS.indexOf(right.charAt(0));
  if (high - low > 1) return LETTERS.charAt((low + high) >> 1);
  if (right !== undefined && right.length > 1) return right.charAt(0);
  return LETTERS.charAt(low) + partBetween(left.slice(1), undefined);
}
