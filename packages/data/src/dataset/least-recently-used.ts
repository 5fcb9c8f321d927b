/** A map that forgets what was not used for longest when the sum of the costs passes a limit. */
export class LeastRecentlyUsed<Value> {
  readonly #limit: number;
  readonly #onForgotten: (value: Value) => void;
  /** A Map keeps its insertion order: the first key is the one not used for longest. */
  readonly #items = new Map<string, { readonly value: Value; readonly cost: number }>();
  #cost = 0;

  constructor(limit: number, onForgotten: (value: Value) => void = () => undefined) {
    this.#limit = limit;
    this.#onForgotten = onForgotten;
  }

  get(key: string): Value | undefined {
    const item = this.#items.get(key);
    if (item === undefined) return undefined;
    this.#items.delete(key);
    this.#items.set(key, item);
    return item.value;
  }

  /** Keeps a value; one that alone passes the limit is not kept. */
  set(key: string, value: Value, cost: number): void {
    this.delete(key);
    if (cost > this.#limit) return;
    this.#items.set(key, { value, cost });
    this.#cost += cost;
    for (const [oldest, item] of this.#items) {
      if (this.#cost <= this.#limit) break;
      this.delete(oldest);
      this.#onForgotten(item.value);
    }
  }

  delete(key: string): void {
    const item = this.#items.get(key);
    if (item === undefined) return;
    this.#items.delete(key);
    this.#cost -= item.cost;
  }

  /** Forgets everything, and returns it. */
  clear(): readonly Value[] {
    const values = [...this.#items.values()].map(({ value }) => value);
    this.#items.clear();
    this.#cost = 0;
    return values;
  }
}
