import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { formatAddress, listenError, listening, SerialQueue, WeftError } from '@weft/common';
import { collectDefaultMetrics, Registry, type RegistryContentType } from 'prom-client';

export interface ServeMetricsOptions {
  /** The registry of `CoordinatorMetrics` or `WorkerMetrics`; `process_*` and `nodejs_*` metrics are added to it. */
  readonly registry: Registry;
  /** Default 127.0.0.1: reachable from this machine only. */
  readonly host?: string;
  /** Default 0: any free port. */
  readonly port?: number;
  /** Who serves, for the sentence when the port is taken; default "the metrics page". */
  readonly name?: string;
  /** Called before every scrape, to set what only matters then. */
  readonly onScrape?: () => void | Promise<void>;
  /** Why this process is not healthy, one sentence; undefined when it is. Default: always healthy. */
  readonly unhealthy?: () => string | undefined;
  /** JSON that other paths answer, by path. Default: none. */
  readonly json?: Readonly<Record<string, () => unknown>>;
}

export interface MetricsServer {
  /** `host:port`. */
  readonly address: string;
  readonly port: number;
  close(): Promise<void>;
}

/**
 * Serves `/metrics` for Prometheus and `/healthz` (200, or 503 with the reason) over HTTP.
 *
 * @throws WeftError `port_in_use` and the others of `listenError`.
 */
export async function serveMetrics(options: ServeMetricsOptions): Promise<MetricsServer> {
  const { registry, host = '127.0.0.1', port = 0, name = 'the metrics page' } = options;
  addProcessMetrics(registry);
  const pages = new SerialQueue();
  const server = createServer((request, response) => {
    answer(request, options, pages).then(
      ({ status, type, body }) => send(request, response, status, type, body),
      (error: unknown) => send(request, response, 500, TEXT, `${WeftError.from(error).message}\n`),
    );
  });
  try {
    await listening(server, host, port);
  } catch (error) {
    throw listenError(error, name, { host, port }, '--metrics-port');
  }
  const bound = server.address();
  const boundPort = typeof bound === 'object' && bound !== null ? bound.port : port;
  return {
    address: formatAddress({ host, port: boundPort }),
    port: boundPort,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Default metrics that end in `_total` and are no counters, which `promtool check metrics` refuses. */
const MISNAMED = ['nodejs_active_resources_total', 'nodejs_active_handles_total', 'nodejs_active_requests_total'];

/** CPU, memory, file descriptors, event loop and garbage collection, under the names that all Node programs use. */
function addProcessMetrics(registry: Registry): void {
  collectDefaultMetrics({ register: registry });
  for (const name of MISNAMED) registry.removeSingleMetric(name);
}

const TEXT = 'text/plain; charset=utf-8';

/** Whether OpenMetrics is what a client likes best, by its `Accept`. Without one, or without preference, it gets the text format. */
function wantsOpenMetrics(accept = ''): boolean {
  const quality = (type: string) => {
    const wanted = accept.split(',').find((each) => each.trim().startsWith(type));
    if (wanted === undefined) return 0;
    return Number(/;\s*q=([\d.]+)/.exec(wanted)?.[1] ?? 1);
  };
  return quality('application/openmetrics-text') > quality('text/plain');
}

interface Answer {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

async function answer(
  { method, url, headers }: IncomingMessage,
  { registry, onScrape, unhealthy, json = {} }: ServeMetricsOptions,
  pages: SerialQueue,
): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, type: TEXT, body: 'only GET is answered\n' };
  const path = url?.split('?', 1)[0] ?? '';
  const content = json[path];
  if (content !== undefined) return { status: 200, type: 'application/json', body: JSON.stringify(content()) };
  switch (path) {
    case '/metrics':
      // One page at a time: the registry knows one format at a time.
      return pages.run(async () => {
        await onScrape?.();
        (registry as Registry<RegistryContentType>).setContentType(
          wantsOpenMetrics(headers.accept) ? Registry.OPENMETRICS_CONTENT_TYPE : Registry.PROMETHEUS_CONTENT_TYPE,
        );
        return { status: 200, type: registry.contentType, body: await metricsText(registry) };
      });
    case '/healthz': {
      const reason = unhealthy?.();
      return reason === undefined
        ? { status: 200, type: TEXT, body: 'ok\n' }
        : { status: 503, type: TEXT, body: `${reason}\n` };
    }
    default:
      return {
        status: 404,
        type: TEXT,
        body: `there are ${['/metrics', '/healthz', ...Object.keys(json)].join(', ')}\n`,
      };
  }
}

/** The page in the format of the registry. For OpenMetrics prom-client takes `_total` off the names of counters, and leaves it off. */
async function metricsText(registry: Registry): Promise<string> {
  const names = registry.getMetricsAsArray().map((metric) => ({ metric, name: metric.name }));
  const page = await registry.metrics();
  for (const { metric, name } of names) metric.name = name;
  return page;
}

function send({ method }: IncomingMessage, response: ServerResponse, status: number, type: string, body: string): void {
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'x-content-type-options': 'nosniff',
    ...(status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(method === 'HEAD' ? undefined : body);
}
