import { WEFT_VERSION, WeftError } from '@weft/common';

/** @throws WeftError `version_mismatch` naming both versions. */
export function refuseOtherVersion(version: string, sender: string): void {
  if (version === WEFT_VERSION) return;
  const other = version === '' ? 'of an unknown version' : `Weft ${version}`;
  throw new WeftError('version_mismatch', `${sender} is ${other}, the coordinator is Weft ${WEFT_VERSION}`, {
    hint: 'install the same version of Weft on both sides',
  });
}

/** Far deeper than any configuration. What walks a value calls itself for every level. */
const DEEPEST = 100;

/** @throws WeftError `invalid_argument` naming what is not JSON, or is nested too deeply. */
export function parseJson(text: string, name: string): unknown {
  if (depthOf(text) > DEEPEST)
    throw new WeftError('invalid_argument', `${name} is nested more than ${DEEPEST} levels deep`);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new WeftError('invalid_argument', `${name} is not JSON`, { cause });
  }
}

/** How deep brackets are nested in JSON, outside of its texts. */
function depthOf(json: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [token] of json.matchAll(/"(?:[^"\\]+|\\.)*"|[[\]{}]/gs)) {
    if (token === '[' || token === '{') deepest = Math.max(deepest, ++depth);
    else if (token === ']' || token === '}') depth--;
  }
  return deepest;
}

/** Entries of a few hundred bytes: this many stay far below the size limit of a message. */
const PAGE_SIZE = 1000;

/**
 * A page of a list.
 *
 * @param token the `nextPageToken` of the page before; undefined for the first page.
 * @throws WeftError `invalid_argument` when the list no longer has the entry that the page before ended with.
 */
export function paginate<Item>(
  items: readonly Item[],
  nameOf: (item: Item) => string,
  token: string | undefined,
): { page: readonly Item[]; nextPageToken: string | undefined } {
  const first = token === undefined ? 0 : items.findIndex((item) => nameOf(item) === token) + 1;
  if (token !== undefined && first === 0)
    throw new WeftError('invalid_argument', 'the list has changed while it was read', { hint: 'read it again' });
  const page = items.slice(first, first + PAGE_SIZE);
  const last = page.at(-1);
  const isLast = last === undefined || first + page.length === items.length;
  return { page, nextPageToken: isLast ? undefined : nameOf(last) };
}
