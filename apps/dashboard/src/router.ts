import { signal } from '@preact/signals';

/** Where the page is, from the part of the address after `#`: `#/runs/<id>/data?step=12`. */
export interface Route {
  readonly parts: readonly string[];
  readonly query: URLSearchParams;
}

export const route = signal<Route>(parse(location.hash));

addEventListener('hashchange', () => {
  const before = route.value.parts.join('/');
  route.value = parse(location.hash);
  if (route.value.parts.join('/') !== before) scrollTo(0, 0);
});

function parse(hash: string): Route {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?');
  return { parts: path.split('/').filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

/** The address of a view. */
export function link(parts: readonly string[], query: Readonly<Record<string, string | undefined>> = {}): string {
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
  const text = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

/** Changes some of the query and stays where it is. */
export function setQuery(changes: Readonly<Record<string, string | undefined>>): void {
  const query = Object.fromEntries(route.value.query);
  location.hash = link(route.value.parts, { ...query, ...changes });
}
