import { afterEach, expect, it } from 'vitest';
import { CoordinatorMetrics } from './coordinator-metrics.js';
import { type MetricsServer, type ServeMetricsOptions, serveMetrics } from './serve-metrics.js';

const servers: MetricsServer[] = [];
afterEach(() => Promise.all(servers.splice(0).map((server) => server.close())));

async function served(options: Partial<ServeMetricsOptions> = {}): Promise<MetricsServer> {
  const server = await serveMetrics({ registry: new CoordinatorMetrics().registry, ...options });
  servers.push(server);
  return server;
}

const get = (server: MetricsServer, path: string, init?: RequestInit) => fetch(`http://${server.address}${path}`, init);

it('serves the metrics and those of the process, on the loopback interface, fresh at every scrape', async () => {
  const metrics = new CoordinatorMetrics();
  let scrapes = 0;
  const server = await served({ registry: metrics.registry, onScrape: () => metrics.setOldestHeartbeatAge(++scrapes) });
  expect(server.address).toBe(`127.0.0.1:${server.port}`);
  await get(server, '/metrics');
  // CPU time counts from the start of the server.
  for (const start = process.cpuUsage(); process.cpuUsage(start).user < 60_000; );
  const response = await get(server, '/metrics?x=1');
  expect(response.status).toBe(200);
  expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  const page = await response.text();
  expect(page).toContain('\nweft_coordinator_oldest_heartbeat_age_seconds 2\n');
  const value = (name: string) => Number(new RegExp(`^${name} (.*)$`, 'm').exec(page)?.[1]);
  expect(value('process_resident_memory_bytes')).toBeGreaterThan(10e6);
  expect(value('process_cpu_seconds_total')).toBeGreaterThan(0.05);
  expect(value('process_open_fds')).toBeGreaterThan(3);
  expect(value('nodejs_eventloop_lag_p99_seconds')).toBeGreaterThanOrEqual(0);
  expect(Math.abs(value('process_start_time_seconds') - Date.now() / 1000)).toBeLessThan(600);
});

it('says whether the process is healthy, and why not', async () => {
  let reason: string | undefined;
  const server = await served({ unhealthy: () => reason });
  const healthy = await get(server, '/healthz');
  expect([healthy.status, await healthy.text()]).toEqual([200, 'ok\n']);
  reason = 'the event log cannot be written';
  const sick = await get(server, '/healthz');
  expect([sick.status, await sick.text()]).toEqual([503, 'the event log cannot be written\n']);
});

it('answers nothing else, and HEAD without a body', async () => {
  const server = await served();
  expect((await get(server, '/')).status).toBe(404);
  const post = await get(server, '/metrics', { method: 'POST' });
  expect([post.status, post.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  const head = await get(server, '/metrics', { method: 'HEAD' });
  expect([head.status, await head.text()]).toEqual([200, '']);
});

it('an error while scraping is the answer, not the end', async () => {
  let fail = true;
  const onScrape = () => {
    if (fail) throw new Error('not ready');
  };
  const server = await served({ onScrape });
  const broken = await get(server, '/metrics');
  expect([broken.status, await broken.text()]).toEqual([500, 'not ready\n']);
  fail = false;
  expect((await get(server, '/metrics')).status).toBe(200);
});

it('says when its port is taken', async () => {
  const { port } = await served();
  await expect(served({ port, name: 'the metrics page of the coordinator' })).rejects.toMatchObject({
    code: 'port_in_use',
    message: `the metrics page of the coordinator cannot listen on 127.0.0.1:${port}, the port is taken`,
    hint: 'stop the process that listens there, or choose another port with --metrics-port',
  });
});

it('answers in OpenMetrics when that is liked best, as Prometheus does, and in the text format otherwise', async () => {
  const server = await served();
  const prometheus = 'application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1';
  const [open, text] = await Promise.all([
    get(server, '/metrics', { headers: { accept: prometheus } }),
    get(server, '/metrics', { headers: { accept: 'text/html,text/plain' } }),
  ]);
  expect(open.headers.get('content-type')).toContain('application/openmetrics-text');
  const page = await open.text();
  expect(page.endsWith('# EOF\n')).toBe(true);
  expect(page).toContain('# TYPE weft_coordinator_workers_lost counter');
  expect(text.headers.get('content-type')).toContain('text/plain');
  const textPage = await text.text();
  expect(textPage).not.toContain('# EOF');
  // Also after the other format, which has other names.
  expect(textPage).toMatch(
    /^# TYPE weft_coordinator_workers_lost_total counter\nweft_coordinator_workers_lost_total 0$/m,
  );
});

it('answers other paths with JSON', async () => {
  const server = await served({ json: { '/sd/workers': () => [{ targets: ['host:1'], labels: {} }] } });
  const response = await get(server, '/sd/workers');
  expect(response.headers.get('content-type')).toBe('application/json');
  expect(await response.json()).toEqual([{ targets: ['host:1'], labels: {} }]);
  expect(await (await get(server, '/sd')).text()).toContain('/sd/workers');
});
