import { WeftError } from '@weft/common';
import type { BlobStatus } from '@weft/files';
import { changed, connectionFailure, type Hints, RefusedRequest, refusal, retryAfterMs } from './failures.js';
import { IdleTimer, readBody } from './read-body.js';
import type { ByteRange, ListingPage, RemoteSource } from './remote-source.js';

const MOST_REDIRECTS = 10;
/** Where a server sends readers is asked for again after this; such places are often signed for an hour or less. */
const LOCATION_LIFETIME_MS = 5 * 60_000;

/** What one server differs in from another. */
export interface HttpsOptions {
  /** The URL of an address. Default: the address itself. */
  readonly urlOf?: (path: string) => string;
  /** The value of `Authorization` for an origin, `https://host:port`. It is sent to no other. */
  readonly authorization?: (origin: string) => Promise<string | undefined>;
  readonly hints?: Partial<Hints>;
}

const HINTS: Hints = {
  missing: 'check the address in a browser or with curl',
  denied: 'put the name and password for the host into ~/.netrc',
  unreachable: 'check the address and the network of this machine',
};

interface Answer {
  readonly response: Response;
  /** Of the blob; null where the server has none. */
  readonly version: string | null;
}

/** Where the redirects of an address ended. */
interface Location {
  readonly url: string;
  readonly untilMs: number;
  /** Of the blob, as the address names it. */
  readonly version: string | null;
  /** What the location itself names it. */
  readonly ownVersion: string | null;
}

/** Files of a web server that answers requests of ranges. */
export class HttpsSource implements RemoteSource {
  readonly #options: HttpsOptions;
  readonly #hints: Hints;
  readonly #locations = new Map<string, Location>();

  constructor(options: HttpsOptions = {}) {
    this.#options = options;
    this.#hints = { ...HINTS, ...options.hints };
  }

  cacheName(path: string): string {
    return this.#url(path);
  }

  async status(path: string, signal?: AbortSignal): Promise<BlobStatus> {
    // Where it lies now, and not some minutes ago.
    this.#locations.delete(path);
    // The first byte rather than HEAD: signed locations answer to GET alone, and it shows whether ranges are served.
    return await this.#ask(path, { Range: 'bytes=0-0' }, signal, async ({ response, version }) => {
      await response.body?.cancel();
      if (response.status === 416 && /^bytes \*\/0$/.test(response.headers.get('content-range') ?? ''))
        return { bytes: 0, version };
      const length = response.headers.get('content-length');
      if (response.status === 200 && length !== null && Number(length) <= 1) return { bytes: Number(length), version };
      return { bytes: totalBytes(response) ?? refuseRanges(path, response), version };
    });
  }

  async fetch(path: string, range: ByteRange, known: BlobStatus, signal?: AbortSignal): Promise<Uint8Array> {
    const bytes = range.end - range.first;
    const headers = { Range: `bytes=${range.first}-${range.end - 1}` };
    return await this.#ask(path, headers, signal, async ({ response, version }, timer) => {
      const isOther = known.version !== null && version !== null && version !== known.version;
      const isWhole = response.status === 200 && response.headers.get('content-length') === `${bytes}`;
      const total = totalBytes(response);
      if (isOther || (total !== undefined && total !== known.bytes)) {
        await response.body?.cancel();
        throw changed(path);
      }
      if (response.status !== 206 && !(isWhole && range.first === 0)) {
        await response.body?.cancel();
        return refuseRanges(path, response);
      }
      return await readBody(chunksOf(response), bytes, path, timer);
    });
  }

  names(): Promise<readonly string[]> {
    return Promise.resolve([]);
  }

  list(folder: string): Promise<ListingPage> {
    return Promise.reject(
      new WeftError('invalid_argument', `what lies at ${folder} cannot be listed: https has no listings`, {
        hint: 'name the shards in data.datasets.<dataset>.shards: a pattern such as train-{000000..000099}.tar, or a file beside them that lists them, such as shards.txt',
      }),
    );
  }

  /** The answer to a GET of whole small files: listings, JSON. */
  async read(url: string, mostBytes: number, signal?: AbortSignal): Promise<{ body: Uint8Array; headers: Headers }> {
    return await this.#ask(url, {}, signal, async ({ response }, timer) => {
      const parts: Uint8Array[] = [];
      let bytes = 0;
      for await (const chunk of chunksOf(response)) {
        timer.touch();
        bytes += chunk.length;
        if (bytes > mostBytes)
          throw new WeftError(
            'corrupt_data',
            `${url} is longer than the ${mostBytes} bytes that are read of such a file`,
          );
        parts.push(chunk);
      }
      return { body: Buffer.concat(parts), headers: response.headers };
    });
  }

  async #ask<T>(
    path: string,
    headers: Readonly<Record<string, string>>,
    signal: AbortSignal | undefined,
    use: (answer: Answer, timer: IdleTimer) => Promise<T>,
  ): Promise<T> {
    const timer = new IdleTimer(signal);
    try {
      return await use(await this.#follow(path, headers, timer), timer);
    } catch (thrown) {
      throw connectionFailure(path, hostOf(this.#url(path)), timer.explain(path, thrown), this.#hints);
    } finally {
      timer.end();
    }
  }

  /** Follows redirects by hand, so that no other host gets the credentials of the first. */
  async #follow(path: string, headers: Readonly<Record<string, string>>, timer: IdleTimer): Promise<Answer> {
    const first = this.#url(path);
    const remembered = this.#remembered(path);
    let url = remembered?.url ?? first;
    let version: string | undefined;
    for (let redirects = 0; ; redirects++) {
      const response = await this.#get(url, new URL(first).origin, headers, timer);
      timer.touch();
      version ??= response.headers.get('x-linked-etag') ?? undefined;
      const location = response.headers.get('location');
      if (response.status >= 300 && response.status < 400 && location !== null) {
        await response.body?.cancel();
        if (redirects === MOST_REDIRECTS)
          throw new WeftError('failed_precondition', `${path} cannot be read: its server redirects in a circle`, {
            hint: 'check the address with curl -L',
          });
        const next = new URL(location, url);
        if (next.protocol === 'http:' && url.startsWith('https:'))
          throw new WeftError(
            'failed_precondition',
            `${path} cannot be read: its server redirects to http, without TLS`,
          );
        url = next.href;
        continue;
      }
      const isEmpty = response.status === 416;
      if (response.ok || isEmpty) {
        const ownVersion = withoutQuotes(response.headers.get('etag') ?? modified(response));
        if (remembered === undefined) {
          const answer = { response, version: withoutQuotes(version ?? null) ?? ownVersion };
          const untilMs = performance.now() + LOCATION_LIFETIME_MS;
          if (url !== first) this.#locations.set(path, { url, untilMs, version: answer.version, ownVersion });
          return answer;
        }
        if (ownVersion === remembered.ownVersion) return { response, version: remembered.version };
      }
      await response.body?.cancel();
      if (remembered !== undefined) {
        // Its signature is over, or it holds something else by now.
        this.#locations.delete(path);
        return await this.#follow(path, headers, timer);
      }
      const refused = new RefusedRequest(
        response.status,
        response.statusText,
        retryAfterMs(response.headers.get('retry-after')),
      );
      throw refusal(path, refused, this.#hints);
    }
  }

  async #get(url: string, ownOrigin: string, headers: Readonly<Record<string, string>>, timer: IdleTimer) {
    const { origin } = new URL(url);
    const authorization = origin === ownOrigin ? await this.#options.authorization?.(origin) : undefined;
    return await fetch(url, {
      redirect: 'manual',
      signal: timer.signal,
      // What is packed for the way would be unpacked by fetch, and its ranges are those of other bytes.
      headers: {
        ...headers,
        'Accept-Encoding': 'identity',
        ...(authorization ? { Authorization: authorization } : {}),
      },
    });
  }

  #remembered(path: string): Location | undefined {
    const found = this.#locations.get(path);
    return found !== undefined && found.untilMs > performance.now() ? found : undefined;
  }

  #url(path: string): string {
    return this.#options.urlOf?.(path) ?? path;
  }
}

/** An answer without a body has no chunks. */
async function* chunksOf({ body }: Response): AsyncGenerator<Uint8Array, void, undefined> {
  if (body !== null) yield* body as AsyncIterable<Uint8Array>;
}

const hostOf = (url: string) => new URL(url).host;

/** Of the whole blob, from an answer with a part of it. */
function totalBytes(response: Response): number | undefined {
  const total = /\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1];
  return total === undefined ? undefined : Number(total);
}

function refuseRanges(path: string, response: Response): never {
  throw new WeftError(
    'failed_precondition',
    `${path} cannot be read in parts: its server answers ${response.status} to a request of a range`,
    { hint: 'use a server that serves ranges, or copy the data to a folder' },
  );
}

/** Servers without ETags have times. */
function modified(response: Response): string | null {
  const time = response.headers.get('last-modified');
  return time === null ? null : `modified ${time}`;
}

/** A weak ETag names the same bytes after another packing for the way, which is never asked for here. */
const withoutQuotes = (version: string | null) => version?.replace(/^(W\/)?"(.*)"$/, '$2') ?? null;
