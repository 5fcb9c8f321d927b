import { refuse } from '@weft/common';

/** The value of a key that the map must hold, such as a value of a recording. @throws WeftError `internal` when it does not. */
export function required<K, V>(map: ReadonlyMap<K, V>, key: K): V {
  return map.get(key) ?? refuse('internal', `nothing is known of ${String(key)}`);
}

/** The element of a list that must have it. @throws WeftError `internal` when it does not. */
export function itemAt<T>(list: ArrayLike<T>, index: number): T {
  return list[index] ?? refuse('internal', `there is no item ${index} of ${list.length}`);
}
