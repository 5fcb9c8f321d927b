import type { IncomingMessage } from 'node:http';
import { fileServer, temporaryDirectory } from '@weft/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { S3Source } from './s3-source.js';
import { withRetries } from './with-retries.js';

const RANGE = { first: 0, end: 10 };
const KNOWN = { bytes: 10, version: null };

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

async function answering(answer: (request: IncomingMessage) => Answer) {
  const server = await fileServer({});
  server.intercept = (request, response) => {
    const { status, headers, body } = answer(request);
    response.writeHead(status, headers).end(body);
    return true;
  };
  return server;
}

let home: Awaited<ReturnType<typeof temporaryDirectory>>;
beforeEach(async () => {
  home = await temporaryDirectory();
  // Nothing of whoever runs the test.
  for (const name of ['AWS_PROFILE', 'AWS_SESSION_TOKEN', 'AWS_REGION', 'AWS_DEFAULT_REGION'])
    vi.stubEnv(name, undefined);
  vi.stubEnv('HOME', home.path);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIDTEST');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'not-a-secret');
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await home.remove();
});

describe('answers of S3', () => {
  /** An error as Amazon sends it. */
  async function answered(status: number, code: string, headers: Readonly<Record<string, string>>) {
    await using server = await answering(() => ({
      ...{ status, headers },
      body: `<Error><Code>${code}</Code><Message>m</Message></Error>`,
    }));
    const source = new S3Source({ scheme: 's3', endpoint: server.url, region: 'us-east-1', env: {} });
    return await source.fetch('s3://b/k', RANGE, KNOWN).then(
      () => undefined,
      (error: unknown) => error,
    );
  }

  it.each([
    [403, 'AccessDenied', 'failed_precondition', 'access to s3://b/k is denied'],
    [403, 'InvalidAccessKeyId', 'failed_precondition', 'access to s3://b/k is denied'],
    [403, 'RequestTimeTooSkewed', 'failed_precondition', 'its clock is wrong'],
    [403, 'InvalidObjectState', 'failed_precondition', 's3://b/k lies in an archive and cannot be read'],
    [404, 'NoSuchKey', 'not_found', 's3://b/k does not exist'],
    [503, 'SlowDown', 'unavailable', 's3://b/k cannot be read now: the server answers 503 SlowDown'],
    [500, 'InternalError', 'unavailable', 's3://b/k cannot be read now: the server answers 500 InternalError'],
    [301, 'PermanentRedirect', 'failed_precondition', 'the bucket b lies in another region, eu-west-1'],
    [400, 'AuthorizationHeaderMalformed', 'failed_precondition', 'the bucket b lies in another region, eu-west-1'],
  ])('%i %s is a sentence', async (status, code, expected, sentence) => {
    expect(await answered(status, code, { 'x-amz-bucket-region': 'eu-west-1' })).toMatchObject({
      code: expected,
      message: expect.stringContaining(sentence) as string,
    });
  });

  it('that name another region are followed where none is set', async () => {
    const regions: (string | undefined)[] = [];
    await using server = await answering(({ headers }) => {
      const region = /\/([a-z0-9-]+)\/s3\/aws4_request/.exec(headers.authorization ?? '')?.[1];
      regions.push(region);
      if (region === 'eu-west-1') return { status: 206, headers: { ETag: '"1"' }, body: '0123456789' };
      const body = '<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>';
      return { status: 400, headers: {}, body };
    });
    const source = new S3Source({ scheme: 's3', endpoint: server.url, region: null, env: {} });
    const pause = () => Promise.resolve();
    const fetched = await withRetries(() => source.fetch('s3://b/k', RANGE, KNOWN), { patienceMs: 60_000, pause });
    expect(Buffer.from(fetched).toString()).toBe('0123456789');
    expect(regions).toEqual(['us-east-1', 'eu-west-1']);
  });

  it('are those to a request without a signature where there are no credentials', async () => {
    delete process.env.AWS_ACCESS_KEY_ID;
    const signatures: (string | undefined)[] = [];
    await using server = await answering(({ headers }) => {
      signatures.push(headers.authorization);
      return signatures.length === 1
        ? { status: 206, headers: {}, body: '0123456789' }
        : { status: 403, headers: {}, body: '<Error><Code>AccessDenied</Code></Error>' };
    });
    const source = new S3Source({ scheme: 's3', endpoint: server.url, region: null, env: {} });
    await source.fetch('s3://b/k', RANGE, KNOWN);
    await expect(source.fetch('s3://b/k', RANGE, KNOWN)).rejects.toMatchObject({
      hint: 'this process has no credentials, and the bucket is not public: set AWS_ACCESS_KEY_ID or AWS_PROFILE',
    });
    expect(signatures).toEqual([undefined, undefined]);
  });

  it.each(['http://key:not-a-secret@minio:9000', 'http://minio:9000/?token=not-a-secret'])(
    'are not asked for at %s, which is not repeated',
    (endpoint) => {
      for (const from of [
        { endpoint, env: {} },
        { endpoint: null, env: { AWS_ENDPOINT_URL: endpoint } },
      ]) {
        const open = () => new S3Source({ scheme: 's3', region: null, ...from });
        expect(open).toThrow('the address of the S3 server has @, ? or # in it');
        expect(open).not.toThrow('not-a-secret');
      }
    },
  );

  it('do not carry the credentials into the sentence', async () => {
    const thrown = await answered(403, 'SignatureDoesNotMatch', {});
    expect(JSON.stringify(thrown, Object.getOwnPropertyNames(thrown))).not.toContain('not-a-secret');
  });
});
