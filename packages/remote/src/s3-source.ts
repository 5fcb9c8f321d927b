import type { GetObjectCommandOutput, S3Client, S3ClientConfig } from '@aws-sdk/client-s3';
import { isJsonObject, WeftError } from '@weft/common';
import type { BlobStatus } from '@weft/files';
import { parseAddress } from './address.js';
import { changed, connectionFailure, type Hints, RefusedRequest, refusal, retryAfterMs } from './failures.js';
import { IdleTimer, readBody } from './read-body.js';
import type { ByteRange, ListingPage, RemoteSource } from './remote-source.js';

const CONNECT_TIMEOUT_MS = 10_000;
const SOCKETS = 64;
/** Google's face of S3, for `gs://`. */
const GOOGLE = 'https://storage.googleapis.com';

/** What the two S3-like schemes differ in, and what a run sets. */
export interface S3Options {
  readonly scheme: 's3' | 'gs';
  readonly endpoint: string | null;
  readonly region: string | null;
  readonly env: Readonly<Record<string, string | undefined>>;
}

type Sdk = typeof import('@aws-sdk/client-s3');

/**
 * S3 and what speaks its protocol. Requests are signed with the credentials that the SDK finds: environment, profiles, web
 * identities, roles of instances and containers; where there are none, they are sent unsigned, as public buckets take them.
 */
export class S3Source implements RemoteSource {
  readonly #options: S3Options;
  readonly #endpoint: string | undefined;
  readonly #hints: Hints;
  /** That of a bucket which a server has named. */
  #region: string | undefined;
  #opened: Promise<{ readonly sdk: Sdk; readonly client: S3Client }> | undefined;
  #isUnsigned = false;

  /** @throws WeftError `invalid_argument` for an endpoint that may hold a secret: messages name it */
  constructor(options: S3Options) {
    const { scheme, endpoint, env } = options;
    this.#options = options;
    const named = endpoint ?? (env.AWS_ENDPOINT_URL_S3 || env.AWS_ENDPOINT_URL || undefined);
    this.#endpoint = scheme === 'gs' ? (endpoint ?? GOOGLE) : named;
    if (/[@?#]/.test(this.#endpoint ?? ''))
      throw new WeftError(
        'invalid_argument',
        'the address of the S3 server has @, ? or # in it, and may hold a secret',
        {
          hint: 'leave that out of AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or data.remote.endpoint; credentials belong into AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
        },
      );
    this.#hints = {
      missing: 'check bucket and prefix, and that data.remote.endpoint is the server that has them',
      denied: 'check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE, the role of this machine) and what they may read',
      unreachable: 'check data.remote.endpoint, AWS_ENDPOINT_URL_S3 and the network of this machine',
    };
  }

  cacheName(path: string): string {
    return `${this.#endpoint ?? ''} ${path}`;
  }

  async status(path: string, signal?: AbortSignal): Promise<BlobStatus> {
    const { root: Bucket, key: Key } = parseAddress(path);
    const found = await this.#send(path, signal, ({ sdk, client }, abortSignal) =>
      client.send(new sdk.HeadObjectCommand({ Bucket, Key }), { abortSignal }),
    );
    return { bytes: found.ContentLength ?? 0, version: found.ETag ?? null };
  }

  async fetch(path: string, { first, end }: ByteRange, known: BlobStatus, signal?: AbortSignal): Promise<Uint8Array> {
    const { root: Bucket, key: Key } = parseAddress(path);
    const Range = `bytes=${first}-${end - 1}`;
    const IfMatch = known.version ?? undefined;
    return await this.#send(path, signal, async ({ sdk, client }, abortSignal, timer) => {
      const found = await client.send(new sdk.GetObjectCommand({ Bucket, Key, Range, IfMatch }), { abortSignal });
      if (known.version !== null && found.ETag !== undefined && found.ETag !== known.version) {
        discard(found);
        throw changed(path);
      }
      const body = bodyOf(found);
      const destroy = () => body.destroy(new Error('aborted'));
      abortSignal.addEventListener('abort', destroy, { once: true });
      try {
        return await readBody(body, end - first, path, timer);
      } finally {
        abortSignal.removeEventListener('abort', destroy);
        body.destroy();
      }
    });
  }

  async names(folder: string, signal?: AbortSignal): Promise<readonly string[]> {
    const { root: Bucket, key } = parseAddress(folder);
    const Prefix = key === '' ? '' : `${key}/`;
    // More than the first thousand would only be more of a message.
    const page = await this.#send(folder, signal, ({ sdk, client }, abortSignal) =>
      client.send(new sdk.ListObjectsV2Command({ Bucket, Prefix, Delimiter: '/' }), { abortSignal }),
    );
    const folders = (page.CommonPrefixes ?? []).map(({ Prefix: name = '' }) => name.slice(Prefix.length));
    const files = (page.Contents ?? []).map(({ Key = '' }) => Key.slice(Prefix.length));
    return [...folders, ...files].filter((name) => name !== '' && name !== '/');
  }

  async list(folder: string, from?: string, signal?: AbortSignal): Promise<ListingPage> {
    const { root: Bucket, key } = parseAddress(folder);
    const Prefix = key === '' ? '' : `${key}/`;
    const page = await this.#send(folder, signal, ({ sdk, client }, abortSignal) =>
      client.send(new sdk.ListObjectsV2Command({ Bucket, Prefix, ContinuationToken: from }), { abortSignal }),
    );
    const blobs = (page.Contents ?? []).flatMap(({ Key = '', Size = 0, ETag = null }) =>
      // Some programs mark folders with empty objects.
      Key.endsWith('/') ? [] : [{ name: Key.slice(Prefix.length), bytes: Size, version: ETag }],
    );
    return { blobs, next: page.IsTruncated === true ? page.NextContinuationToken : undefined };
  }

  async #send<T>(
    path: string,
    signal: AbortSignal | undefined,
    request: (
      opened: { readonly sdk: Sdk; readonly client: S3Client },
      abortSignal: AbortSignal,
      timer: IdleTimer,
    ) => Promise<T>,
  ): Promise<T> {
    this.#opened ??= this.#open();
    const opening = this.#opened;
    const opened = await opening;
    const timer = new IdleTimer(signal);
    try {
      return await request(opened, timer.signal, timer);
    } catch (thrown) {
      const explained = timer.explain(path, thrown);
      const region = regionOfBucket(explained);
      if (region !== undefined && this.#options.region === null) {
        const isFirst = this.#opened === opening;
        if (isFirst && region !== this.#region) {
          this.#region = region;
          this.#opened = this.#open();
        }
        // Requests that were under way in the wrong region are made again in the right one too.
        if (this.#opened !== opening)
          throw new WeftError('unavailable', `${path} lies in the region ${region}`, { cause: explained });
      }
      throw this.#failure(path, explained);
    } finally {
      timer.end();
    }
  }

  async #open(): Promise<{ readonly sdk: Sdk; readonly client: S3Client }> {
    // It is pinned, and says on every host with Node 20 that its later versions will not run there.
    process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
    const sdk = await import('@aws-sdk/client-s3');
    const { env } = this.#options;
    const region = this.#options.region ?? this.#region ?? (env.AWS_REGION || env.AWS_DEFAULT_REGION || undefined);
    const config: S3ClientConfig = {
      // Our own attempts are counted, and wait as servers ask.
      maxAttempts: 1,
      requestHandler: {
        connectionTimeout: CONNECT_TIMEOUT_MS,
        httpAgent: { maxSockets: SOCKETS, keepAlive: true },
        httpsAgent: { maxSockets: SOCKETS, keepAlive: true },
      },
      // Servers other than Amazon's may not know checksums of parts.
      responseChecksumValidation: 'WHEN_REQUIRED',
      ...(region === undefined ? {} : { region }),
      ...(this.#options.scheme === 'gs' && region === undefined ? { region: 'auto' } : {}),
      // Only Amazon has a name of its own for every bucket.
      ...(this.#endpoint === undefined ? {} : { endpoint: this.#endpoint, forcePathStyle: true }),
    };
    const usual = new sdk.S3Client(config);
    // Amazon names the right region of a bucket to whoever asks in a wrong one.
    const hasRegion = await usual.config.region().then(
      () => true,
      () => false,
    );
    const complete = hasRegion ? config : { ...config, region: 'us-east-1' };
    this.#isUnsigned = await usual.config.credentials().then(
      () => false,
      () => true,
    );
    if (!this.#isUnsigned) return { sdk, client: hasRegion ? usual : new sdk.S3Client(complete) };
    const signer = { sign: <Request>(request: Request) => Promise.resolve(request) };
    const credentials = { accessKeyId: '', secretAccessKey: '' };
    return { sdk, client: new sdk.S3Client({ ...complete, credentials, signer: signer as never }) };
  }

  #failure(path: string, thrown: unknown): WeftError {
    if (WeftError.is(thrown)) return thrown;
    const { root: bucket } = parseAddress(path);
    const host = this.#endpoint ?? 'Amazon S3';
    const { name, status, headers } = answerOf(thrown);
    const as = (code: 'not_found' | 'failed_precondition' | 'invalid_argument', message: string, hint: string) =>
      new WeftError(code, message, { cause: thrown, hint });
    if (name === 'NoSuchBucket') return as('not_found', `there is no bucket ${bucket} at ${host}`, this.#hints.missing);
    if (name === 'InvalidBucketName')
      return as('invalid_argument', `${bucket} is no name of a bucket`, 'check the address');
    if (name === 'PermanentRedirect' || name === 'AuthorizationHeaderMalformed' || status === 301)
      return as(
        'failed_precondition',
        `the bucket ${bucket} lies in another region${regionIn(headers, thrown)}`,
        'set data.remote.region to the region of the bucket',
      );
    if (name === 'RequestTimeTooSkewed')
      return as('failed_precondition', `${host} refuses requests of this machine: its clock is wrong`, 'set the clock');
    if (name === 'InvalidObjectState')
      return as('failed_precondition', `${path} lies in an archive and cannot be read`, 'restore it in S3 first');
    if (name === 'CredentialsProviderError' || name === 'TokenProviderError')
      return as('failed_precondition', `the credentials for ${host} cannot be renewed`, this.#hints.denied);
    if (status === undefined) return connectionFailure(path, host, thrown, this.#hints);
    const reason = name === 'UnknownError' || name === String(status) ? '' : name;
    const refused = new RefusedRequest(status, reason, retryAfterMs(headers['retry-after']));
    const denied = this.#isUnsigned
      ? 'this process has no credentials, and the bucket is not public: set AWS_ACCESS_KEY_ID or AWS_PROFILE'
      : this.#hints.denied;
    // SlowDown comes as 503; some servers send it with 400 or 200.
    return refusal(path, name === 'SlowDown' ? new RefusedRequest(503, name, refused.retryAfterMs) : refused, {
      ...this.#hints,
      denied,
    });
  }
}

/** Name and status of an answer with an error; no status where there was no answer. */
function answerOf(thrown: unknown) {
  const error: unknown = thrown;
  const named = error instanceof Error ? error.name : '';
  const metadata = isObject(error) && isJsonObject(error.$metadata) ? error.$metadata : {};
  const response = isObject(error) && isObject(error.$response) ? error.$response : {};
  const status = typeof metadata.httpStatusCode === 'number' ? metadata.httpStatusCode : undefined;
  const headers = isObject(response.headers) ? (response.headers as Readonly<Record<string, string | undefined>>) : {};
  return { name: named, status, headers };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

/** Amazon names the region of a bucket in its answer to a request in another. */
function regionOfBucket(thrown: unknown): string | undefined {
  const { name, status, headers } = answerOf(thrown);
  const isRedirect = name === 'PermanentRedirect' || name === 'AuthorizationHeaderMalformed' || status === 301;
  return isRedirect ? (headers['x-amz-bucket-region'] ?? namedRegion(thrown)) : undefined;
}

const namedRegion = (thrown: unknown) =>
  isObject(thrown) && typeof thrown.Region === 'string' ? thrown.Region : undefined;

function regionIn(headers: Readonly<Record<string, string | undefined>>, thrown: unknown): string {
  const region = headers['x-amz-bucket-region'] ?? namedRegion(thrown);
  return region === undefined ? '' : `, ${region}`;
}

type NodeBody = AsyncIterable<Uint8Array> & { destroy(error?: Error): void };

/** Under Node it is a stream of Node. */
const bodyOf = ({ Body }: GetObjectCommandOutput) => Body as unknown as NodeBody;

function discard(found: GetObjectCommandOutput): void {
  bodyOf(found).destroy();
}
