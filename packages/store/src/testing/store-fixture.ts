import type { Store } from '../store.js';

/** A place where stores can be opened, one after the other or side by side; the tests' view of an adapter. */
export interface StoreFixture {
  open(): Promise<Store>;
  /** Closes what is open and removes what was stored. */
  remove(): Promise<void>;
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
}
