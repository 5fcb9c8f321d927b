import { isJsonObject, WeftError } from '@weft/common';
import type { BlobStatus } from '@weft/files';
import { parseAddress } from './address.js';
import { HttpsSource } from './https-source.js';
import type { ByteRange, ListingPage, RemoteSource } from './remote-source.js';
import { type Environment, huggingFaceToken } from './tokens.js';

const ENDPOINT = 'https://huggingface.co';
const LARGEST_LISTING_BYTES = 64 * 2 ** 20;

/**
 * Data sets laid out as on the Hugging Face hub: `hf://datasets/<owner>/<name>@<revision>/<path>`. The server is that of
 * `HF_ENDPOINT`, the token that of `HF_TOKEN` or of the file where `hf auth login` puts it.
 */
export class HuggingFaceSource implements RemoteSource {
  readonly #endpoint: string;
  readonly #https: HttpsSource;

  constructor(env: Environment) {
    this.#endpoint = (env.HF_ENDPOINT || ENDPOINT).replace(/\/+$/, '');
    const token = once(() => huggingFaceToken(env));
    this.#https = new HttpsSource({
      urlOf: (path) => (path.startsWith('hf://') ? this.#resolve(path) : path),
      authorization: async () => {
        const found = await token();
        return found === undefined ? undefined : `Bearer ${found}`;
      },
      hints: {
        missing: 'check owner, name, revision and path; a data set that is not public looks missing without a token',
        denied: 'set HF_TOKEN to a token that may read the data set, and accept its terms on its page',
        unreachable: 'check HF_ENDPOINT and the network of this machine',
      },
    });
  }

  cacheName(path: string): string {
    return this.#resolve(path);
  }

  status(path: string, signal?: AbortSignal): Promise<BlobStatus> {
    return this.#https.status(path, signal);
  }

  fetch(path: string, range: ByteRange, known: BlobStatus, signal?: AbortSignal): Promise<Uint8Array> {
    return this.#https.fetch(path, range, known, signal);
  }

  async names(folder: string, signal?: AbortSignal): Promise<readonly string[]> {
    const { key } = repositoryOf(folder);
    const { entries } = await this.#tree(folder, this.#treeUrl(folder), signal);
    return entries.map(({ path, type }) => `${below(path, key)}${type === 'directory' ? '/' : ''}`);
  }

  async list(folder: string, from?: string, signal?: AbortSignal): Promise<ListingPage> {
    const { key } = repositoryOf(folder);
    const url = from ?? `${this.#treeUrl(folder)}?recursive=true`;
    const { entries, next } = await this.#tree(folder, url, signal);
    const blobs = entries.flatMap(({ path, type, ...status }) =>
      type === 'file' ? [{ name: below(path, key), ...status }] : [],
    );
    return { blobs, next };
  }

  async #tree(folder: string, url: string, signal: AbortSignal | undefined) {
    const { body, headers } = await this.#https.read(url, LARGEST_LISTING_BYTES, signal);
    const next = /<([^>]+)>;\s*rel="next"/.exec(headers.get('link') ?? '')?.[1];
    return {
      entries: treeEntries(Buffer.from(body).toString('utf8'), folder),
      // The token goes nowhere else.
      next: next !== undefined && new URL(next).origin === new URL(this.#endpoint).origin ? next : undefined,
    };
  }

  #treeUrl(folder: string): string {
    const { repository, revision, key } = repositoryOf(folder);
    const path = key === '' ? '' : `/${encodePath(key)}`;
    return `${this.#endpoint}/api/${repository}/tree/${encodeURIComponent(revision)}${path}`;
  }

  #resolve(path: string): string {
    const { repository, revision, key } = repositoryOf(path);
    return `${this.#endpoint}/${repository}/resolve/${encodeURIComponent(revision)}/${encodePath(key)}`;
  }
}

function repositoryOf(path: string) {
  const { root, key } = parseAddress(path);
  const [repository = '', revision = 'main'] = root.split('@');
  // A revision with slashes is written with %2F.
  return { repository, revision: decodeURIComponent(revision), key };
}

const encodePath = (path: string) => path.split('/').map(encodeURIComponent).join('/');

const below = (path: string, key: string) => (key === '' ? path : path.slice(key.length + 1));

interface TreeEntry extends BlobStatus {
  readonly path: string;
  readonly type: unknown;
}

/** What a listing holds. Large files are named by the SHA-256 of their bytes, small ones by the hash of git. */
function treeEntries(text: string, folder: string): TreeEntry[] {
  let entries: unknown;
  try {
    entries = JSON.parse(text);
  } catch {
    entries = undefined;
  }
  if (!Array.isArray(entries))
    throw new WeftError('corrupt_data', `the listing of ${folder} is not what a Hugging Face hub sends`, {
      hint: 'check HF_ENDPOINT',
    });
  return entries.flatMap((entry: unknown): TreeEntry[] => {
    if (!isJsonObject(entry) || typeof entry.path !== 'string') return [];
    const large = isJsonObject(entry.lfs) ? entry.lfs : undefined;
    const version = large?.oid ?? entry.oid;
    const bytes = Number(large?.size ?? entry.size ?? 0);
    return [{ path: entry.path, type: entry.type, bytes, version: typeof version === 'string' ? version : null }];
  });
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}
