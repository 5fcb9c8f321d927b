import { WeftError } from '@weft/common';

/** So many entries of a few hundred bytes stay far below the limit of a message. */
const PAGE_SIZE = 1000;

/**
 * A page of a list, from behind the item that the page before ended with.
 *
 * @throws `invalid_argument` when that item is gone: the list has changed.
 */
export function pageOf<Item>(
  items: readonly Item[],
  nameOf: (item: Item) => string,
  token: string | undefined,
): { page: readonly Item[]; nextPageToken: string | undefined } {
  const first = token === undefined ? 0 : items.findIndex((item) => nameOf(item) === token) + 1;
  if (token !== undefined && first === 0)
    throw new WeftError('invalid_argument', 'the list has changed while it was read', { cure: 'read it again' });
  const page = items.slice(first, first + PAGE_SIZE);
  const last = page.at(-1);
  const isLast = last === undefined || first + page.length === items.length;
  return { page, nextPageToken: isLast ? undefined : nameOf(last) };
}
