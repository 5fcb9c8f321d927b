import type { Store } from '@weft/store';

/** What a person should know about a store that is away, one clause; undefined while it answers. */
export function storeTrouble({ description, health }: Pick<Store, 'description' | 'health'>): string | undefined {
  if (health.answers) return undefined;
  const since = new Date(health.sinceMs).toISOString();
  return `${description} has not answered since ${since} (${health.error.message}), and nothing is decided until it does`;
}

/** What changed, one sentence without its full stop. */
export function storeNotice(store: Pick<Store, 'description' | 'health'>): string {
  return storeTrouble(store) ?? `${store.description} answers again`;
}
