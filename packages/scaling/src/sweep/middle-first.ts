/**
 * Rates in the order in which a sweep tries them: the middle one first, then alternately above and below, so that
 * something good to compare with is known before the hopeless ends begin.
 */
export function middleFirst<Item>(sorted: readonly Item[]): Item[] {
  const middle = Math.floor((sorted.length - 1) / 2);
  const distance = (index: number) => 2 * Math.abs(index - middle) - (index > middle ? 1 : 0);
  return sorted
    .map((item, index) => ({ item, index }))
    .toSorted((left, right) => distance(left.index) - distance(right.index))
    .map(({ item }) => item);
}
