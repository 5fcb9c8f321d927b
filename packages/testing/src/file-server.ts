import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/** A web server with files in memory that serves ranges, and whatever a test puts in front. */
export interface FileServer extends AsyncDisposable {
  readonly url: string;
  readonly files: Map<string, Uint8Array>;
  /** The requests so far, such as `GET /a.tar bytes=0-0`. */
  readonly requests: string[];
  /** Answers a request instead of the files, where it returns true. */
  intercept: (request: IncomingMessage, response: ServerResponse, n: number) => boolean;
}

export async function fileServer(files: Readonly<Record<string, Uint8Array>>): Promise<FileServer> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const n = requests.length;
    requests.push(`${request.method} ${request.url} ${request.headers.range ?? ''}`.trim());
    if (!found.intercept(request, response, n)) serve(found.files, request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const found: FileServer = {
    url: `http://127.0.0.1:${port}`,
    files: new Map(Object.entries(files)),
    requests,
    intercept: () => false,
    [Symbol.asyncDispose]: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return found;
}

function serve(files: ReadonlyMap<string, Uint8Array>, request: IncomingMessage, response: ServerResponse): void {
  const content = files.get((request.url ?? '').slice(1));
  if (content === undefined) {
    response.writeHead(404).end();
    return;
  }
  const etag = `"${createHash('md5').update(content).digest('hex')}"`;
  const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? '');
  if (range === null) {
    response.writeHead(200, { ETag: etag, 'Content-Length': content.length }).end(content);
    return;
  }
  const [first, last] = [Number(range[1]), Math.min(Number(range[2]), content.length - 1)];
  if (first >= content.length) {
    response.writeHead(416, { 'Content-Range': `bytes */${content.length}` }).end();
    return;
  }
  response.writeHead(206, { ETag: etag, 'Content-Range': `bytes ${first}-${last}/${content.length}` });
  response.end(content.subarray(first, last + 1));
}

/** Bytes that differ from place to place. */
export function someBytes(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (Math.imul(i + seed, 2654435761) >>> 24) & 0xff);
}
