import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { type Address, formatAddress, listenError, listening, systemErrorCode, WeftError } from '@weft/common';
import type { Home } from '@weft/files';
import type { Logger } from '@weft/telemetry';
import type { Coordinator } from '../coordinator.js';
import { type PageAccess, pageAccess, requireAccess, sessionCookie } from './access.js';
import { type Content, commonHeaders, readJsonBody, send, sendError, sendJson } from './http.js';
import { findRoute, type PageSources, RawContent } from './routes.js';
import { readStaticFiles } from './static-files.js';
import { StepContents } from './step-contents.js';
import { PageStreams } from './stream.js';

/** Where the page listens when nothing else is asked for. Where the port is taken, any free one is used instead. */
const DEFAULT_PAGE_ADDRESS: Address = { host: '127.0.0.1', port: 7071 };

interface PageServerOptions {
  readonly coordinator: Coordinator;
  readonly home: Home;
  /** Undefined: `DEFAULT_PAGE_ADDRESS`, or another port of it. */
  readonly address: Address | undefined;
  readonly log: Logger;
}

/** A web page that is served. */
export interface PageServer {
  /** `host:port`. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Serves the web page: its files, and what it asks for as JSON and server-sent events.
 *
 * @throws WeftError as `listenError`
 */
export async function servePage({ coordinator, home, address, log }: PageServerOptions): Promise<PageServer> {
  const { host, port } = address ?? DEFAULT_PAGE_ADDRESS;
  const access = await pageAccess(home, host);
  const page = new Page({ coordinator, home, access, log, files: await readStaticFiles() });
  const server = createServer((request, response) => void page.answer(request, response));
  try {
    await listening(server, host, port).catch((thrown: unknown) => {
      if (address !== undefined || systemErrorCode(thrown) !== 'EADDRINUSE') throw thrown;
      return listening(server, host, 0);
    });
  } catch (thrown) {
    throw listenError(thrown, 'the web page of the coordinator', { host, port }, '--page');
  }
  const bound = server.address();
  return {
    address: formatAddress({ host, port: typeof bound === 'object' && bound !== null ? bound.port : port }),
    close: async () => {
      await page.close();
      await new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      });
    },
  };
}

interface PageParts {
  readonly coordinator: Coordinator;
  readonly home: Home;
  readonly access: PageAccess;
  readonly files: ReadonlyMap<string, Content>;
  readonly log: Logger;
}

class Page {
  readonly #parts: PageParts;
  readonly #sources: PageSources;
  readonly #streams: PageStreams;

  constructor(parts: PageParts) {
    const { coordinator, home } = parts;
    this.#parts = parts;
    this.#sources = { coordinator, home, contents: new StepContents(home), histories: new Map() };
    this.#streams = new PageStreams(coordinator);
  }

  /** Never throws. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      await this.#answer(request, response);
    } catch (thrown) {
      const error = WeftError.from(thrown);
      if (error.code === 'internal')
        this.#parts.log.error(
          { error, path: request.url?.split('?', 1)[0] },
          `the page got no answer: ${error.message}`,
        );
      if (response.headersSent) response.destroy();
      else sendError(request, response, error);
    }
  }

  async close(): Promise<void> {
    this.#streams.close();
    await this.#sources.contents.close();
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { access, files } = this.#parts;
    const { method = 'GET' } = request;
    const { pathname, searchParams: query } = new URL(request.url ?? '/', 'http://page');
    const given = query.get('token');
    if (pathname === '/' && given !== null && access.token !== undefined) return startSession(response, access, given);
    requireAccess(request, access);
    if (pathname === '/api/stream' && method === 'GET')
      return this.#streams.open(request, response, query.get('run') ?? undefined);
    const file = method === 'GET' || method === 'HEAD' ? files.get(pathname) : undefined;
    if (file !== undefined) return send(request, response, 200, file);
    const route = findRoute(method === 'HEAD' ? 'GET' : method, pathname);
    if (route === undefined) throw new WeftError('not_found', `there is no ${method} ${pathname}`);
    const body = method === 'POST' ? await readJsonBody(request) : undefined;
    const answer = await route.answer({ params: route.params, query, body }, this.#sources);
    if (answer instanceof RawContent) send(request, response, 200, answer.content);
    else sendJson(request, response, 200, answer);
  }
}

/** The token goes into a cookie and out of the address, so that it is in no history and no screenshot. */
function startSession(response: ServerResponse, access: PageAccess, given: string): void {
  const cookie = sessionCookie(access, given);
  response.writeHead(303, {
    ...commonHeaders('text/plain; charset=utf-8'),
    location: '/',
    ...(cookie === undefined ? {} : { 'set-cookie': cookie }),
  });
  response.end();
}
