import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { type Address, parseAddress } from '@weft/common';
import type { PageLogs, PageOverview } from '@weft/contracts';
import { Home } from '@weft/files';
import { createLogger } from '@weft/telemetry';
import { temporaryDirectory } from '@weft/testing';
import { afterEach, describe, expect, it } from 'vitest';
import { launchRequest, openCoordinator } from '../testing/open-coordinator.js';
import { servePage } from './page-server.js';

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

interface Reply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
}

/** A page of a coordinator with one queued run, and a browser that sends what it is told. */
async function opened(address?: Address) {
  const home = await temporaryDirectory();
  const { coordinator, close } = await openCoordinator(home.path);
  closers.push(async () => home[Symbol.asyncDispose](), close);
  const log = createLogger({ role: 'coordinator', level: 'silent' });
  const server = await servePage({ coordinator, home: new Home(home.path), address, log });
  closers.push(() => server.close());
  const { runId } = await coordinator.runs.launch(launchRequest());
  const { port } = parseAddress(server.address);
  const ask = (path: string, options: { method?: string; headers?: Record<string, string>; body?: string } = {}) =>
    new Promise<Reply>((resolve, reject) => {
      const { body, ...others } = options;
      const asked = request({ host: '127.0.0.1', port, path, agent: false, ...others }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }));
      });
      asked.on('error', reject).end(body);
    });
  return { ask, coordinator, runId, port, home: home.path };
}

const json = { 'content-type': 'application/json' };

describe('the web page of a coordinator', () => {
  it('shows what lives now, under a policy that lets nothing leave the machine', async () => {
    const { ask, runId } = await opened();
    const { status, headers, text } = await ask('/api/overview');
    expect(status).toBe(200);
    const overview = JSON.parse(text) as PageOverview;
    expect(overview.runs.map((run) => [run.runId, run.status])).toEqual([[runId, 'queued']]);
    expect(overview.queue).toEqual([{ id: runId, kind: 'run', state: 'waiting' }]);
    expect(headers['content-security-policy']).toMatch(/^default-src 'none'; script-src 'self'; /);
    expect((await ask('/')).text).toMatch(/<!doctype html>/i);
    expect((await ask('/api/nothing')).status).toBe(404);
    expect(JSON.parse((await ask('/api/runs/no-such-run')).text)).toMatchObject({ code: 'not_found' });
    expect(JSON.parse((await ask(`/api/runs/${runId}/steps/7`)).text)).toMatchObject({
      message: 'step 7 has not been trained',
    });
    expect(JSON.parse((await ask('/api/runs/..%2F..%2Fetc/curves')).text)).toMatchObject({ code: 'not_found' });
    expect(JSON.parse((await ask('/api/logs?file=..%2Fcoordinator.json')).text)).toMatchObject({ code: 'not_found' });
  });

  it('sends at least one and at most 5000 lines of a log, whatever is asked for', async () => {
    const { ask, home } = await opened();
    await mkdir(join(home, 'logs', 'a'), { recursive: true });
    await writeFile(join(home, 'logs', 'a', 'worker-0.log'), 'a line\n'.repeat(6000));
    const lines = async (wanted: number) =>
      (JSON.parse((await ask(`/api/logs?lines=${wanted}`)).text) as PageLogs).lines.length;
    expect([await lines(0), await lines(10), await lines(1e9)]).toEqual([1, 10, 5000]);
  });

  it('answers under names of this machine alone, so that a foreign name for 127.0.0.1 reads nothing', async () => {
    const { ask, port } = await opened();
    for (const host of ['127.0.0.1', `localhost:${port}`, '[::1]:9'])
      expect((await ask('/api/overview', { headers: { host } })).status).toBe(200);
    for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', 'localhost.evil.example'])
      expect((await ask('/api/overview', { headers: { host } })).status).toBe(403);
  });

  it('changes something for its own page alone', async () => {
    const { ask, coordinator, runId, port } = await opened();
    const stop = (headers: Record<string, string>) =>
      ask(`/api/runs/${runId}/stop`, { method: 'POST', headers, body: '{"saveCheckpoint":true}' });
    expect((await stop({ ...json, origin: 'http://evil.example' })).status).toBe(403);
    expect((await stop({ ...json, 'sec-fetch-site': 'cross-site' })).status).toBe(403);
    // What a form of another page can send without asking.
    expect((await stop({ 'content-type': 'text/plain' })).status).toBe(415);
    expect(coordinator.state.runs.get(runId)?.state.status).toBe('queued');
    const host = `127.0.0.1:${port}`;
    const own = await stop({ ...json, host, origin: `http://${host}`, 'sec-fetch-site': 'same-origin' });
    expect([own.status, JSON.parse(own.text).status]).toEqual([200, 'stopped']);
    const again = await ask(`/api/runs/${runId}/resume`, { method: 'POST', headers: json, body: '{"fromStep":"x"}' });
    expect([again.status, JSON.parse(again.text).message]).toEqual([400, 'fromStep must be a whole number, not "x"']);
    expect((await ask(`/api/runs/${runId}/resume`, { method: 'POST', headers: json, body: '{}' })).status).toBe(200);
  });

  it('pauses a waiting run and moves it before another', async () => {
    const { ask, coordinator, runId } = await opened();
    const { runId: second } = await coordinator.runs.launch(launchRequest());
    const change = (path: string, body: unknown) =>
      ask(path, { method: 'POST', headers: json, body: JSON.stringify(body) });
    expect((await change('/api/queue/move', { id: second, before: runId })).status).toBe(200);
    expect(coordinator.state.queue.jobs.map((job) => job.runId)).toEqual([second, runId]);
    await change('/api/queue/pause', { id: second });
    expect(coordinator.state.queue.jobs.find((job) => job.runId === second)?.state).toBe('paused');
    await change('/api/queue/resume', { id: second });
    expect((await change('/api/queue/move', { id: 'nobody', before: runId })).status).toBe(404);
  });

  it('beyond loopback asks for the token of a file that only its owner reads', async () => {
    const { ask, home } = await opened({ host: '0.0.0.0', port: 0 });
    const refused = await ask('/api/overview');
    expect([refused.status, JSON.parse(refused.text).message]).toEqual([401, 'the page asks for its token']);
    expect((await stat(join(home, 'page-token'))).mode & 0o777).toBe(0o600);
    const token = await readToken(home);
    expect((await ask('/?token=wrong')).headers['set-cookie']).toBeUndefined();
    const session = await ask(`/?token=${token}`);
    expect([session.status, session.headers.location]).toEqual([303, '/']);
    const [cookie = ''] = session.headers['set-cookie'] ?? [];
    expect(cookie).toMatch(/; HttpOnly; SameSite=Strict;/);
    const headers = { cookie: cookie.split(';')[0] ?? '' };
    expect((await ask('/api/overview', { headers })).status).toBe(200);
  });
});

async function readToken(home: string): Promise<string> {
  return (await readFile(join(home, 'page-token'), 'utf8')).trim();
}
