import { WeftError } from '@weft/common';

/** The schemes that are read. */
export const SCHEMES = ['s3', 'gs', 'https', 'http', 'hf'] as const;
export type Scheme = (typeof SCHEMES)[number];

/** Where a blob, or a folder of them, lies. */
export interface Address {
  readonly scheme: Scheme;
  /** The bucket of `s3` and `gs`; the host, with its port, of `https`; `datasets/owner/name@revision` of `hf`. */
  readonly root: string;
  /** What follows, without slashes at its ends; empty for the root. */
  readonly key: string;
}

/**
 * Takes an address apart.
 *
 * @throws WeftError `invalid_argument` for a scheme that is not read, a part that is missing, and for what may be a secret: a
 *   user in front of the host, or a query behind the path
 */
export function parseAddress(text: string): Address {
  const match = /^([a-z][a-z0-9+.-]*):\/\/([^/]*)(?:\/+(.*))?$/is.exec(text);
  const scheme = SCHEMES.find((each) => each === match?.[1]?.toLowerCase());
  if (match === null || scheme === undefined) throw unknownScheme(text);
  const [, , first = '', rest = ''] = match;
  if (first.includes('@') && scheme !== 'hf') throw secret(scheme, 'a name or password in front of its host');
  if (/[?#]/.test(text) && (scheme === 'https' || scheme === 'http')) throw secret(scheme, 'a query behind its path');
  if (first === '') throw invalid(text, `it names no ${scheme === 's3' || scheme === 'gs' ? 'bucket' : 'host'}`);
  const key = rest.replace(/\/+$/, '');
  return scheme === 'hf' ? huggingFace(text, first, key) : { scheme, root: first, key };
}

/** `hf://datasets/<owner>/<name>[@<revision>][/<path>]`. */
function huggingFace(text: string, kind: string, rest: string): Address {
  if (kind.includes('@')) throw secret('hf', 'a name or token in front of its data set');
  const [owner, name, ...path] = rest.split('/');
  if (kind !== 'datasets' || !owner || !name)
    throw invalid(
      text,
      'it does not name a data set',
      'write hf://datasets/<owner>/<name>, with @<revision> behind the name',
    );
  return { scheme: 'hf', root: `datasets/${owner}/${name}`, key: path.join('/') };
}

function unknownScheme(text: string): WeftError {
  const [scheme = ''] = text.split('://', 1);
  return new WeftError('invalid_argument', `no data are read at ${scheme}:// addresses`, {
    hint: `name a folder, or an address that begins with ${SCHEMES.map((each) => `${each}://`).join(', ')}`,
  });
}

/** Without the address itself, which would show the secret. */
function secret(scheme: Scheme, what: string): WeftError {
  return new WeftError('invalid_argument', `an ${scheme}:// address of data has ${what}, which may be a secret`, {
    hint: 'leave it out: configurations are shown and stored; a token for a host belongs into ~/.netrc',
  });
}

const invalid = (text: string, why: string, hint?: string) =>
  new WeftError('invalid_argument', `${text} is no address of data: ${why}`, hint === undefined ? {} : { hint });
