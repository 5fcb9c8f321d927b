import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { WorkersService } from '@weft/proto';
import { serve, service } from '@weft/rpc';
import { describe, expect, it } from 'vitest';

const INTERVAL_MS = 100;
const BUSY_MS = 3000;
const built = (file: string) => new URL(`../dist/${file}`, import.meta.url).href;

/** A process whose event loop is first idle, then busy: it prints how often its heartbeats went out on the stream by then. */
const script = `
  import { heartbeatThread } from ${JSON.stringify(built('heartbeat.js'))};
  let onStream = 0;
  const log = { warn: (fields, message) => console.error(message, fields.error) };
  const start = heartbeatThread(process.env.ADDRESS, log, new URL(${JSON.stringify(built('heartbeat-thread.js'))}));
  const heartbeat = start({ workerId: 'w1', intervalMs: ${INTERVAL_MS}, sendHeartbeat: () => onStream++ });
  setTimeout(() => {
    console.log(onStream);
    const until = performance.now() + ${BUSY_MS};
    while (performance.now() < until);
    heartbeat.stop();
  }, ${10 * INTERVAL_MS});
`;

describe('the heartbeat of a worker', () => {
  it('sends heartbeats on the stream, and beside it while the event loop is busy', async () => {
    expect(existsSync(fileURLToPath(built('heartbeat-thread.js'))), 'run npm run build first').toBe(true);
    const besideMs: number[] = [];
    let onStream = 0;
    let busySinceMs = Number.POSITIVE_INFINITY;
    const server = await serve({
      services: [
        service(WorkersService, {
          connect: async () => {},
          sendHeartbeat: ({ workerId }) => {
            expect(workerId).toBe('w1');
            besideMs.push(performance.now());
            return {};
          },
        }),
      ],
    });
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      env: { ...process.env, ADDRESS: server.address },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    child.stdout.on('data', (text: Buffer) => {
      onStream = Number(text);
      busySinceMs = performance.now();
    });
    const [code] = await once(child, 'close');
    await server.close(0);
    expect(code).toBe(0);
    expect(onStream).toBeGreaterThan(5);
    // It takes a moment to load what it beats with, and none of it before it is needed.
    expect(besideMs.length).toBeGreaterThan(BUSY_MS / INTERVAL_MS / 3);
    expect(Math.min(...besideMs)).toBeGreaterThan(busySinceMs);
    expect(Math.max(...besideMs)).toBeGreaterThan(busySinceMs + BUSY_MS / 2);
  });
});
