import { FileStore } from './file-store.js';
import type { Store, StoreOptions } from './store.js';

/** Opens the store that the options name. */
export async function openStore({ home }: StoreOptions): Promise<Store> {
  return new FileStore(home);
}
