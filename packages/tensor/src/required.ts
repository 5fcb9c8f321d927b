import { WeftError } from '@weft/common';

/** The value of a key that the map must hold, such as a value of a recording. @throws WeftError `internal` when it does not. */
export function required<K, V>(map: ReadonlyMap<K, V>, key: K): V {
  const value = map.get(key);
  if (value === undefined) throw new WeftError('internal', `nothing is known of ${String(key)}`);
  return value;
}
