import { useEffect, useState } from 'preact/hooks';
import { get } from './api.js';

/** What an address answers. */
export interface Loaded<T> {
  readonly value: T | undefined;
  readonly error: unknown;
}

/**
 * Asks for JSON when the path changes, and again when `again` does. The old answer stays until the new one is there.
 *
 * @param path undefined: nothing is asked
 */
export function useApi<T>(path: string | undefined, again: unknown = 0): Loaded<T> {
  const [loaded, setLoaded] = useState<Loaded<T> & { readonly path: string | undefined }>({
    path: undefined,
    value: undefined,
    error: undefined,
  });
  useEffect(() => {
    if (path === undefined) return;
    const leaving = new AbortController();
    get<T>(path, leaving.signal).then(
      (value) => setLoaded({ path, value, error: undefined }),
      (error: unknown) => leaving.signal.aborted || setLoaded({ path, value: undefined, error }),
    );
    return () => leaving.abort();
  }, [path, again]);
  return loaded.path === path ? loaded : { value: undefined, error: undefined };
}
