/** What the next newer version has differently: it has `key` changed, and here it had this value, or none. */
interface Difference<K, V> {
  readonly key: K;
  readonly value: V | undefined;
  readonly isPresent: boolean;
  readonly newer: VersionedMap<K, V>;
}

/**
 * A map whose versions are values: `with` and `without` return another version in O(1), and this one stays as it is.
 *
 * The newest version owns a native map, and each older one remembers the one entry in which it differs from the next (Baker,
 * "Shallow binding makes functional arrays fast", 1991). Reading an older version moves the native map there, entry by entry.
 * So `decide`, which goes from one state to the next, pays what a native map costs, and a state that is dropped because a
 * decision could not be written is still whole. Do not keep old versions: each holds all changes since.
 *
 * Entries are iterated in the order in which their keys were added, except in a version that was gone back to.
 */
export class VersionedMap<K, V> implements ReadonlyMap<K, V> {
  readonly size: number;
  #native: Map<K, V> | undefined;
  #difference: Difference<K, V> | undefined;

  static empty<K, V>(): VersionedMap<K, V> {
    return new VersionedMap<K, V>(new Map());
  }

  static from<K, V>(entries: Iterable<readonly [K, V]>): VersionedMap<K, V> {
    return new VersionedMap<K, V>(new Map(entries));
  }

  /** @param native is owned by the new version from now on */
  private constructor(native: Map<K, V>) {
    this.#native = native;
    this.size = native.size;
  }

  get(key: K): V | undefined {
    return this.#read().get(key);
  }

  has(key: K): boolean {
    return this.#read().has(key);
  }

  with(key: K, value: V): VersionedMap<K, V> {
    const native = this.#read();
    const before = native.get(key);
    const isPresent = before !== undefined || native.has(key);
    if (isPresent && Object.is(before, value)) return this;
    native.set(key, value);
    return this.#succeed(native, key, before, isPresent);
  }

  without(key: K): VersionedMap<K, V> {
    const native = this.#read();
    const before = native.get(key);
    if (!native.delete(key)) return this;
    return this.#succeed(native, key, before, true);
  }

  /** A copy, so that changes during the iteration do not matter. */
  [Symbol.iterator](): MapIterator<[K, V]> {
    return [...this.#read()].values();
  }

  entries(): MapIterator<[K, V]> {
    return this[Symbol.iterator]();
  }

  keys(): MapIterator<K> {
    return [...this.#read().keys()].values();
  }

  values(): MapIterator<V> {
    return [...this.#read().values()].values();
  }

  forEach(callback: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this) callback(value, key, this);
  }

  #succeed(native: Map<K, V>, key: K, value: V | undefined, isPresent: boolean): VersionedMap<K, V> {
    const newer = new VersionedMap<K, V>(native);
    this.#native = undefined;
    this.#difference = { key, value, isPresent, newer };
    return newer;
  }

  #read(): Map<K, V> {
    return this.#native ?? this.#takeBack();
  }

  /** Moves the native map from the version that owns it to this one. */
  #takeBack(): Map<K, V> {
    const way: VersionedMap<K, V>[] = [];
    let owner: VersionedMap<K, V> = this;
    while (owner.#difference !== undefined) {
      way.push(owner);
      owner = owner.#difference.newer;
    }
    const native = owner.#native!;
    for (const older of way.reverse()) {
      const { key, value, isPresent } = older.#difference!;
      owner.#difference = { key, value: native.get(key), isPresent: native.has(key), newer: older };
      owner.#native = undefined;
      if (isPresent) native.set(key, value as V);
      else native.delete(key);
      older.#difference = undefined;
      owner = older;
    }
    this.#native = native;
    return native;
  }
}
